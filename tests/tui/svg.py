"""Mends the SVG that rich draws of a terminal: offline fonts, and Chinese in its cells."""

from __future__ import annotations

import html
import itertools
import re

from rich.cells import cell_len

_FONT_FACE = re.compile(r"\s*@font-face\s*\{[^}]*\}")
_FONT_FAMILY = "font-family: Fira Code, monospace;"
_FONTS = (
    "font-family: 'DejaVu Sans Mono', Menlo, Consolas, 'Noto Sans Mono CJK TC', 'Noto Sans CJK TC', 'Noto Serif Tibetan', "
    "'PingFang TC', 'Microsoft JhengHei', monospace;"
)
_FULL_WIDTH_LATIN = "font-variant-east-asian: full-width;"
_TEXT = re.compile(r'<text class="([^"]*)" x="([0-9.]+)" y="([0-9.]+)" textLength="([0-9.]+)"([^>]*)>([^<]*)</text>')
_WIDE_FONT_SIZE = 23  # px; beside 20 px Latin it fills its two cells


def mended(svg: str) -> str:
    """Return the picture as it should be in a document that is read offline."""
    return _TEXT.sub(_in_cells, offline(svg))


def offline(svg: str) -> str:
    """Take the remote font out of a picture, and name fonts that have Chinese."""
    return _FONT_FACE.sub("", svg).replace(_FONT_FAMILY, _FONTS).replace(_FULL_WIDTH_LATIN, "")


def _in_cells(match: re.Match[str]) -> str:
    """Put every run of narrow and of wide characters where its cells are.

    rich sets `textLength` from the number of characters, but 字 takes two cells.
    """
    css_class, x, y, length, rest, escaped = match.groups()
    text = html.unescape(escaped)
    if not text:
        return ""
    at, cell = float(x), float(length) / len(text)
    parts = []
    for kind, run in itertools.groupby(text, key=_kind):
        characters = "".join(run)
        width = cell * cell_len(characters)
        size = f' font-size="{_WIDE_FONT_SIZE}px"' if kind == "wide" else ""
        if kind == "tibetan":  # its letters are wider than a cell: narrower ones, not such that overlap
            size = ' lengthAdjust="spacingAndGlyphs"'
        shown = html.escape(characters).replace("\xa0", "&#160;")
        parts.append(f'<text class="{css_class}" x="{at:g}" y="{y}" textLength="{width:g}"{size}{rest}>{shown}</text>')
        at += width
    return "".join(parts)


def _kind(character: str) -> str:
    if "\u0f00" <= character <= "\u0fff":
        return "tibetan"
    return "wide" if cell_len(character) == 2 else "narrow"
