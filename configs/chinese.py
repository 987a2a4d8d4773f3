"""Traditional and Simplified Chinese, converted by OpenCC."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from configs.errors import require


def convert(texts: Sequence[str], conversion: str) -> list[str]:
    """Convert texts by the OpenCC configuration of that name (t2s, s2t, tw2sp, …).

    Raises:
        MachineError: OpenCC is not installed.
    """
    converter = _converter(conversion)
    return [converter.convert(text) for text in texts]


@cache
def _converter(conversion: str) -> Any:
    return require("opencc", "edge").OpenCC(conversion)
