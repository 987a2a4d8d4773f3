"""The result as one HTML file that asks nothing of the network and runs no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from configs.exam import without_control
from runtime.evaluation.sections import Section

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: .5em 0; font-variant-numeric: tabular-nums; }
th, td { padding: .15em .8em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; white-space: pre-line; }
img { max-width: 100%; }
"""


def page(title: str, sections: Sequence[Section], plots: Mapping[str, bytes]) -> bytes:
    """The page in UTF-8; every text is escaped, every plot embedded."""
    body = "".join(_section(section, plots) for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{_text(title)}</h1>\n{body}</body>\n</html>\n"
    ).encode("utf-8", "replace")


def _section(section: Section, plots: Mapping[str, bytes]) -> str:
    parts = [f"<h2>{_text(section.title)}</h2>\n", *(f"<p>{_text(note)}</p>\n" for note in section.notes)]
    if section.plot in plots:
        data = base64.b64encode(plots[section.plot]).decode("ascii")
        parts.append(f'<img alt="{_text(section.plot)}" src="data:image/png;base64,{data}">\n')
    if section.rows:
        head = "".join(f"<th>{_text(cell)}</th>" for cell in section.header)
        rows = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>\n" for row in section.rows)
        parts.append(f"<table>\n<tr>{head}</tr>\n{rows}</table>\n")
    return "".join(parts)


def _text(text: str) -> str:
    return escape(without_control(text))
