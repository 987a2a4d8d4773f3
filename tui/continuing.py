"""Lets a model go on with a reply that was cut or stopped, as if it had never been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from configs.errors import ToolError

if TYPE_CHECKING:
    from configs.prompt import Message, Rendered
    from runtime.engine import Engine, Sampling, Stream


@dataclass(frozen=True, slots=True)
class Request:
    """One question for the model, with all it needs to know."""

    number: int
    """Tells this reply's messages from another's."""
    history: Sequence[Message]
    """The finished turns, user and assistant in alternation."""
    text: str
    system: str | None
    """None takes the prompt format's own."""
    sampling: Sampling
    begun: str = ""
    """The reply so far, where the model is to go on with one."""


def continue_reply(engine: Engine, request: Request) -> tuple[Stream, int]:
    """Submit the conversation up to the end of the reply that was begun.

    Returns:
        The rest of the reply, and how many of the oldest turns were left out to make room for it.

    Raises:
        ToolError: there is no room left, or the prompt format changes what a reply holds.
    """
    from configs.prompt import encode

    size = engine.context_size
    budget = size - min(request.sampling.max_tokens, size // 4)
    turns = len(request.history) // 2
    for dropped in range(turns + 1):
        ids = encode(_begun_prompt(engine, request, dropped), engine.tokenizer)
        if len(ids) <= budget:
            break
    if len(ids) >= size:
        raise ToolError(
            f"question and reply take {len(ids)} tokens, the context holds {size}",
            hint="load the model with a larger --ctx-size",
        )
    stops = tuple(dict.fromkeys((*engine.formats.prompt.stops, *request.sampling.stop)))
    room = min(request.sampling.max_tokens, size - len(ids))
    return engine.submit(ids, replace(request.sampling, max_tokens=room, stop=stops)), dropped


def messages_of(request: Request, first_turn: int = 0) -> list[Message]:
    """The conversation as the prompt format takes it, without its oldest turns."""
    head: list[Message] = [] if request.system is None else [{"role": "system", "content": request.system}]
    return [*head, *request.history[2 * first_turn :], {"role": "user", "content": request.text}]


def _begun_prompt(engine: Engine, request: Request, first_turn: int) -> Rendered:
    messages = [*messages_of(request, first_turn), {"role": "assistant", "content": request.begun}]
    rendered = engine.formats.prompt.render(messages)
    at = rendered.text.rfind(request.begun)
    if at < 0:
        raise ToolError("this model's prompt format does not let a reply be continued", hint="/regen asks again")
    return rendered.cut(at + len(request.begun))[0]
