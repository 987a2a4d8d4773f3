"""Makes text from models, files and people safe to show."""

from __future__ import annotations

_KEPT = "\n\t"
# NUL..US and DEL get their pictures (U+2400..), C1 controls the replacement character: a terminal
# would obey them, and a reader should see that they are there.
_VISIBLE = {code: 0x2400 + code for code in range(0x20) if chr(code) not in _KEPT}
_VISIBLE |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


def visible(text: str) -> str:
    """Replace control characters, which a terminal would obey, with signs that can be read.

    Line ends of any kind become newlines; tabs stay.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_VISIBLE)
