"""Which of llama.cpp's pre-tokenizers cuts text as a byte-level BPE tokenizer does, found by the expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_DIGIT = r"\p{N}"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

_NAMES: dict[tuple[tuple[str, ...], bool], str] = {
    ((_WORDS + r"\p{N}{1,3}" + _REST,), True): "llama-bpe",
    ((_WORDS + r"\p{N}{1,3}" + _REST,), False): "smaug-bpe",
    ((_WORDS + r"\p{N}" + _REST,), False): "qwen2",
    ((_GPT2,), False): "gpt-2",
    ((_DIGIT, _GPT2), False): "smollm",
}
"""(Regular expressions in the order they cut, whether whole words win over merges) -> llama.cpp's name.

Source: `llm_tokenizer_bpe` in llama.cpp (src/llama-vocab.cpp); the tests tokenize with every one of them.
"""


def pre_tokenizer_name(pre_tokenizer: Mapping[str, Any] | None, *, ignore_merges: bool) -> str | None:
    """llama.cpp's name for the pre-tokenizer of a `tokenizer.json`; None where it has none that is surely the same."""
    expressions = split_expressions(pre_tokenizer)
    return None if expressions is None else _NAMES.get((tuple(expressions), ignore_merges))


def split_expressions(pre_tokenizer: Mapping[str, Any] | None) -> list[str] | None:
    """The regular expressions that a byte-level pre-tokenizer cuts with; None where it does anything else."""
    if not pre_tokenizer:
        return None
    steps: Sequence[Mapping[str, Any]] = (
        pre_tokenizer.get("pretokenizers", []) if pre_tokenizer.get("type") == "Sequence" else [pre_tokenizer]
    )
    if not steps or steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    found: list[str] = []
    for step in steps[:-1]:
        expression = _expression(step)
        if expression is None:
            return None
        found.append(expression)
    return [*found, _GPT2] if steps[-1].get("use_regex", True) else found


def _expression(step: Mapping[str, Any]) -> str | None:
    if step.get("type") == "Digits" and step.get("individual_digits"):
        return _DIGIT
    if step.get("type") == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
        pattern = step.get("pattern")
        return pattern.get("Regex") if isinstance(pattern, Mapping) else None
    return None
