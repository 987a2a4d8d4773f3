"""Grammars (GBNF) that a reply has to follow: one of several texts, or JSON of a schema."""

from __future__ import annotations

import json
from collections.abc import Sequence

from configs.errors import ConfigError


def choices_grammar(choices: Sequence[str]) -> str:
    """The reply is exactly one of these texts.

    Raises:
        ConfigError: there is none, or one is empty or comes twice.
    """
    if not choices or not all(choices) or len(set(choices)) != len(choices):
        raise ConfigError("the choices of a reply must be distinct texts, none of them empty")
    return f"root ::= {' | '.join(map(_literal, choices))}\n"


def schema_grammar(schema: str) -> str:
    """The reply is JSON of this JSON Schema; what llama.cpp's converter knows of it is kept to.

    Raises:
        ConfigError: not JSON, not a schema, or one that cannot be turned into a grammar.
    """
    from runtime.llama_library import schema_to_gbnf

    try:
        parsed = json.loads(schema)
    except ValueError as error:
        raise ConfigError(f"the schema is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ConfigError("the schema is no JSON object")
    try:
        return schema_to_gbnf(schema)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(f"the schema cannot be turned into a grammar: {reason}") from error


def _literal(text: str) -> str:
    """A GBNF string; everything but plain letters and digits as an escape."""
    return '"' + "".join(c if c.isalnum() and c.isascii() else _escape(c) for c in text) + '"'


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\U{code:08x}"
