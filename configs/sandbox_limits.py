"""What a value in a stranger's template may be before something is done with it that could take for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from jinja2 import Undefined
from jinja2.exceptions import SecurityError

MAX_TEXT = 1 << 23
"""Characters of any text that a template makes."""
MAX_ITEMS = 100_000
"""Items of any list that it makes."""


def concat(pieces: Iterable[str]) -> str:
    """Join rendered pieces, measured first."""
    kept, total = [], 0
    for piece in pieces:
        kept.append(piece)
        total += len(piece)
        check_length(total)
    return "".join(kept)


def printable(value: Any) -> Any:
    """The value, if it is a text, a number or nothing: a list's text could be endless."""
    if value is None or isinstance(value, (str, int, float, Undefined)):
        return value
    raise SecurityError(f"a format shows texts and numbers, not a {type(value).__name__}")


def comparable(value: Any) -> Any:
    """The value, if comparing it takes no longer than it is: lists in lists could take for ever."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    if any(isinstance(item, (list, tuple, dict)) for item in inner):
        raise SecurityError("a format compares no lists in lists")
    return value


def comparing(test: Any) -> Callable[..., Any]:
    """A Jinja test that compares, its sides looked at first."""
    return lambda *values: test(*map(comparable, values))


def measured(value: Any) -> Any:
    """The value, if it is not too large."""
    if isinstance(value, str):
        check_length(len(value))
    elif isinstance(value, (list, tuple, dict)) and len(value) > MAX_ITEMS:
        raise SecurityError(f"the template makes a list of {len(value):,} items")
    elif isinstance(value, int) and value.bit_length() > 64:
        raise SecurityError("the template makes a number that is too large")
    return value


def check_replace(text: str, old: str = "", new: str = "", *_rest: object) -> None:
    """Refuse `text.replace(old, new)` where the result would be too long."""
    check_length(len(text) + (text.count(old) if old else len(text) + 1) * len(new))


def check_join(items: Iterable[Any], separator: str = "", *_rest: object) -> None:
    """Refuse `separator.join(items)` where the result would be too long."""
    if not isinstance(items, (list, tuple, str)):
        raise SecurityError("a format joins lists only")
    check_length(sum(len(str(printable(item))) + len(separator) for item in items))


def check_length(length: int) -> None:
    """Refuse a text of so many characters.

    Raises:
        SecurityError: it is too long.
    """
    if length > MAX_TEXT:
        raise SecurityError(f"the template makes a text of more than {MAX_TEXT:,} characters")
