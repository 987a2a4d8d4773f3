"""Damaged question sheets by the hundred: bytes flipped, parts of the archive edited, texts torn."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests import tiny

_HOSTILE = [
    b"99999999999", b"-1", b"0", b"1e999", b"nan", b"XFD1048576", b"ZZZZZZZZ9", b"", b"&#0;", b"&lt;", b"_x0000_", b"</row>",
    b'<!DOCTYPE a [<!ENTITY b "b">]>', b"\xff\xfe", b"<c/>", b'<c r="XFD1048576"><v>1</v></c>', b"t=\"s\"", b't="e"', b't="d"',
    b"<mergeCell ref=\"A1:XFD1048576\"/>",
]  # fmt: skip


def write(folder: Path, count: int, seed: int = 0) -> Iterator[Path]:
    """`count` files of every kind, the same for the same seed."""
    draw = random.Random(seed)
    workbook = tiny.sheet(folder / "whole.xlsx", tiny.questions(6)).read_bytes()
    (folder / "whole.xlsx").unlink()
    makers = (_flipped, _edited, _edited, _text, _json)
    for number in range(count):
        suffix, data = makers[number % len(makers)](draw, workbook)
        path = folder / f"mutant{number:04d}{suffix}"
        path.write_bytes(data)
        yield path


def _flipped(draw: random.Random, workbook: bytes) -> tuple[str, bytes]:
    data = bytearray(workbook)
    for _ in range(draw.choice((1, 3, 30))):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return ".xlsx", bytes(data[: draw.choice((len(data), len(data), draw.randrange(len(data))))])


def _edited(draw: random.Random, workbook: bytes) -> tuple[str, bytes]:
    """The archive stays whole; one of its parts is damaged, or left out."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook)) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        names = [name for name in old.namelist() if "theme" not in name and "docProps" not in name]
        victim = draw.choice(names)
        for name in names:
            data = old.read(name)
            if name == victim and draw.random() < 0.1:
                continue
            new.writestr(name, _damaged(draw, data) if name == victim else data)
    return ".xlsx", packed.getvalue()


def _damaged(draw: random.Random, data: bytes) -> bytes:
    for _ in range(draw.choice((1, 1, 4))):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(5)
        if kind == 0:  # a number, a reference or a name becomes another
            starts = [place for place in range(len(data)) if data[place : place + 1].isalnum()]
            at = draw.choice(starts)
            end = at
            while end < len(data) and data[end : end + 1].isalnum():
                end += 1
            data = data[:at] + draw.choice(_HOSTILE) + data[end:]
        elif kind == 1:
            data = data[:at] + draw.choice(_HOSTILE) + data[at:]
        elif kind == 2:
            data = data[:at] + data[at + draw.randrange(40) :]
        elif kind == 3:
            data = data[:at] + data[max(0, at - draw.randrange(200)) :]
        else:
            data = data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
    return data


def _text(draw: random.Random, _: bytes) -> tuple[str, bytes]:
    rows = [[q.passage, q.question, *q.choices, str(q.answer)] for q in tiny.questions(6)]
    lines = [["文章", "問題", "選項1", "選項2", "選項3", "選項4", "答案"], *rows]
    suffix, sign = draw.choice(((".csv", ","), (".csv", ";"), (".tsv", "\t")))
    encoding = draw.choice(("utf-8", "utf-8-sig", "cp950", "gb18030", "utf-16"))
    return suffix, _damaged(draw, "\r\n".join(sign.join(line) for line in lines).encode(encoding))


def _json(draw: random.Random, _: bytes) -> tuple[str, bytes]:
    records = [
        {"id": n, "passage": q.passage, "question": q.question, "choices": list(q.choices), "answer": q.answer}
        for n, q in enumerate(tiny.questions(6))
    ]
    if draw.random() < 0.5:
        return ".json", _damaged(draw, json.dumps(records, ensure_ascii=draw.random() < 0.5).encode())
    return ".jsonl", _damaged(draw, "\n".join(json.dumps(record) for record in records).encode())
