"""Datasets of Hugging Face's `datasets`: read as the same rows in jsonl are, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.test_sources import jsonl, peak_megabytes, prepare, prepared, reasons, rows

EXAM = {"passage": "文章", "question": "問題", "choices": ["甲", "乙", "丙"], "answer": 2, "explanation": None}
RECORDS: dict[str, list[dict[str, Any]]] = {
    "exam": [{**EXAM, "passage": f"文章{number}"} for number in range(7)],
    "instruction": [{"instruction": f"問{number}", "input": None, "output": "答"} for number in range(7)],
    "chat": [
        {"messages": [{"role": "user", "content": f"問{number}"}, {"role": "assistant", "content": "答"}]}
        for number in range(7)
    ],
    "entities": [
        {"text": f"王小明在台北{number}", "entity_list": [{"entity": "台北", "entity_type": "LOC"}] * (number % 2)}
        for number in range(7)
    ],
    "text": [{"text": f"第{number}篇"} for number in range(7)],
}


def parquet(path: Path, records: list[dict[str, Any]]) -> Path:
    table = pytest.importorskip("pyarrow").Table.from_pylist(records)
    pytest.importorskip("pyarrow.parquet").write_table(table, path)
    return path


def saved(path: Path, records: list[dict[str, Any]]) -> Path:
    """The folder that `save_to_disk` writes, in three shards; made in a process of its own, `datasets` being heavy."""
    code = "import sys, json, datasets; datasets.Dataset.from_list(json.load(sys.stdin)).save_to_disk(sys.argv[1], num_shards=3)"
    subprocess.run(
        [sys.executable, "-c", code, path], input=json.dumps(records), text=True, check=True, capture_output=True
    )
    return path


@pytest.mark.parametrize("kind", RECORDS)
def test_parquet_is_read_like_lines(kind: str, tmp_path: Path) -> None:
    meta = prepared(tmp_path / "a", parquet(tmp_path / "a.parquet", RECORDS[kind]))
    prepared(tmp_path / "b", jsonl(tmp_path / "b.jsonl", *RECORDS[kind]))
    assert (meta["format"], meta["train"]) == (kind, 7)
    assert (tmp_path / "a" / "train.jsonl").read_bytes() == (tmp_path / "b" / "train.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exam", "chat"])
def test_a_saved_dataset_is_read_like_lines(kind: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved", RECORDS[kind])
    meta = prepared(tmp_path / "a", folder)
    prepared(tmp_path / "b", jsonl(tmp_path / "b.jsonl", *RECORDS[kind]))
    assert (meta["format"], meta["train"]) == (kind, 7)
    assert (tmp_path / "a" / "train.jsonl").read_bytes() == (tmp_path / "b" / "train.jsonl").read_bytes()
    assert "already made" in prepare(folder, "--output", tmp_path / "a", "--validation", 0)[2]
    shard = sorted(folder.glob("*.arrow"))[1]
    assert prepared(tmp_path / "c", shard)["train"] == 2
    shard.unlink()
    code, _, err = prepare(folder, "--output", tmp_path / "d")
    assert (code, err.count("\n")) == (2, 1)
    assert f"lacks its {shard.name}" in err


def test_fields_that_only_some_turns_have_are_none_where_they_are_empty(tmp_path: Path) -> None:
    first, second, third = json.loads(json.dumps(RECORDS["chat"][:3]))
    second["messages"][1]["tool_calls"] = "call"
    meta = prepared(tmp_path / "data", parquet(tmp_path / "a.parquet", [first, second, third]))
    assert meta["train"] == 2
    assert reasons(tmp_path / "data") == {
        "2": "turn 2 has role, content, tool_calls instead of role and content, or from and value"
    }


def test_what_is_no_dataset_is_one_sentence(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "a.parquet", RECORDS["text"]).read_bytes()
    (tmp_path / "torn.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "splits" / "train").mkdir(parents=True)
    (tmp_path / "splits" / "dataset_dict.json").write_text('{"splits": ["train"]}', encoding="utf-8")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "state.json").write_text("[]", encoding="utf-8")
    (tmp_path / "a.docx").write_text("文", encoding="utf-8")
    for name, told in (
        ("torn.parquet", "torn.parquet is damaged"),
        ("splits", "holds several splits: train (name one of them"),
        ("odd", "state.json is damaged"),
        ("a.docx", "a.docx is none of xlsx, xlsm, csv, tsv, txt, jsonl, json, arrow, parquet"),
    ):
        code, _, err = prepare(tmp_path / name, "--output", tmp_path / "data")
        assert (code, err.count("\n")) == (2, 1)
        assert told in err


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["parquet", "saved"])
def test_memory_does_not_grow_with_the_dataset(layout: str, tmp_path: Path) -> None:
    code = """
import sys, pyarrow, pyarrow.parquet
folder, layout, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
words = '春夏秋冬山川河海' * 40
table = pyarrow.table({'text': [f'{number}：{words}{number * number}' for number in range(rows)]})
if layout == 'parquet':
    pyarrow.parquet.write_table(table, folder, row_group_size=rows, compression='none')
else:
    import datasets
    datasets.Dataset(table).save_to_disk(folder)
"""
    peaks = []
    for count in (3_000, 200_000):
        path = tmp_path / (f"{count}.parquet" if layout == "parquet" else str(count))
        subprocess.run([sys.executable, "-c", code, path, layout, str(count)], check=True, capture_output=True)
        peaks.append(peak_megabytes(path, "--output", tmp_path / f"data-{count}"))
    assert peaks[1] - peaks[0] < 120, "the cache of what was seen may fill; the larger one has 190 MB"
    assert rows(tmp_path / "data-3000")
