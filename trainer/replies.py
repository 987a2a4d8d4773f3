"""Where the replies of a conversation stand among its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from configs.prompt import Message, PromptFormat, Tokenizer, encode, encode_split

Span = tuple[int, int]
"""First token, and the one after the last."""
Encoded = tuple[list[int], tuple[Span, ...]]
"""Ids, and the spans of the replies in them."""


def encode_conversation(
    prompt_format: PromptFormat, messages: Sequence[Message], tokenizer: Tokenizer
) -> list[Encoded]:
    """The conversation's ids with a span for each reply and the token that ends it.

    What stands before a reply is, id for id, the prompt that serving evaluates there. Where tokens would grow across
    the joint of prompt and reply, one sequence cannot be that for all replies: then there is one for each reply, with
    that reply alone in its span.
    """
    places = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    if len(places) == 1:
        return [_last_reply(prompt_format, messages, tokenizer)]
    ids = encode(prompt_format.render(messages), tokenizer)
    spans = []
    for place in places:
        prompt_ids = encode(prompt_format.prompt(messages[:place]), tokenizer)
        if ids[: len(prompt_ids)] != prompt_ids:
            return [_last_reply(prompt_format, messages[: place + 1], tokenizer) for place in places]
        answered = encode(prompt_format.render(messages[: place + 1]), tokenizer)
        spans.append((len(prompt_ids), _shared(ids, answered)))
    return [(ids, tuple(spans))]


def _last_reply(prompt_format: PromptFormat, messages: Sequence[Message], tokenizer: Tokenizer) -> Encoded:
    prompt_ids, target_ids = encode_split(prompt_format, messages, tokenizer)
    return [*prompt_ids, *target_ids], ((len(prompt_ids), len(prompt_ids) + len(target_ids)),)


def _shared(ids: Sequence[int], others: Sequence[int]) -> int:
    """Length of the common start: a format may end the last reply otherwise than those before it."""
    pairs = enumerate(zip(ids, others, strict=False))
    return next((place for place, (id_, other) in pairs if id_ != other), min(len(ids), len(others)))
