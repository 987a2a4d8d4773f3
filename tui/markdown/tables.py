"""Tables: columns side by side where they fit, one line a cell where they do not."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

_GAP = Content.styled(" │ ", "$foreground 40%")
_GAP_CELLS = 3
_NEWLINE = Content("\n")


def table(rows: Sequence[Sequence[Content]], aligned: Sequence[str], width: int) -> Content:
    """Lay a table out in `width` cells.

    Args:
        rows: the header first; all of the same length.
        aligned: `left`, `right`, `center` or empty, for every column.
    """
    widths = [max(row[at].cell_length for row in rows) for at in range(len(rows[0]))]
    if sum(widths) + _GAP_CELLS * (len(widths) - 1) > width:
        return _stacked(rows)
    lines = [_line(row, widths, aligned) for row in rows]
    rule = Content.styled("─┼─".join("─" * cells for cells in widths), "$foreground 40%")
    return _NEWLINE.join([lines[0].stylize("bold"), rule, *lines[1:]])


def _line(row: Sequence[Content], widths: Sequence[int], aligned: Sequence[str]) -> Content:
    return _GAP.join(
        [_pad(cell, cells, how) or Content(" ") for cell, cells, how in zip(row, widths, aligned, strict=True)]
    )


def _pad(cell: Content, width: int, how: str) -> Content:
    room = width - cell.cell_length
    left = {"right": room, "center": room // 2}.get(how, 0)
    return cell.pad_left(left).pad_right(room - left)


def _stacked(rows: Sequence[Sequence[Content]]) -> Content:
    """Every row as lines of `column: cell`, for a table that is wider than the screen."""
    header, *body = rows
    groups = []
    for row in body:
        cells = [name.stylize("bold") + ": " + cell for name, cell in zip(header, row, strict=True)]
        groups.append(_NEWLINE.join(cells))
    return Content("\n\n").join(groups) if groups else Content(" │ ").join(header)
