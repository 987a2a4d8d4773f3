"""One sheet in parts, each with a journal of its own, joined into the bytes that one machine writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs.errors import ConfigError
from configs.exam import Question
from configs.formats import Formats
from configs.sheets import SheetRow
from runtime.answers_file import AnswersFile
from runtime.batch import PredictRun, PredictSettings
from runtime.buckets import bucket_count
from runtime.engine import ModelOptions
from runtime.merging import merge_shards
from runtime.shards import WHOLE, Shard
from tests import tiny
from tests.runtime import make_gguf

PARTS = 3


def command(*args: object) -> tuple[int, dict[str, Any], str]:
    code, out, err = tiny.run_cli("runtime.cli", *args, "--json")
    return code, json.loads(out) if out else {}, err


def predict(*args: object) -> tuple[int, dict[str, Any], str]:
    return command("predict", *args, "--threads", 1)


def merge(sheet: Path, output: Path, *args: object) -> tuple[int, dict[str, Any], str]:
    return command("merge-shards", *args, "--sheet", sheet, "--output", output)


@pytest.fixture(scope="module")
def odd_sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good rows, equal rows, and two that cannot be answered."""
    questions = tiny.questions(40)
    bad = [
        Question("", "誰？", ("甲", "乙", "丙", "丁"), 1),
        Question("長" * 3000, "誰？", ("甲", "乙", "丙", "丁"), 2),
    ]
    folder = tmp_path_factory.mktemp("odd")
    return tiny.sheet(folder / "odd.xlsx", [*questions[:20], *bad, *questions[20:], questions[3]])


@pytest.fixture(scope="module")
def parts(odd_sheet: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The outputs of three machines."""
    folder = tmp_path_factory.mktemp("parts")
    found = []
    rows = 0
    for number in range(1, PARTS + 1):
        code, summary, _ = predict(
            odd_sheet, "--model", models / "model.gguf", "--output", folder / "a.csv", "--shard", f"{number}/{PARTS}"
        )
        rows += summary["rows"]
        assert code == (1 if summary["unanswered"] else 0)
        assert summary["computed"] + summary["unanswered"] == summary["rows"] < 43
        found.append(folder / f"a.shard-{number}-of-{PARTS}.csv")
        assert summary["output"] == str(found[-1])
    assert rows == 43
    assert not (folder / "a.csv").exists()
    return found


@pytest.mark.parametrize("columns", ["kaggle", "full"])
def test_merged_parts_are_the_bytes_of_one_machine(
    odd_sheet: Path, models: Path, parts: list[Path], tmp_path: Path, columns: str
) -> None:
    one, many = tmp_path / "one.csv", tmp_path / "many.csv"
    flags = ["--columns", columns, "--fallback", "2"]
    assert predict(odd_sheet, "--model", models / "model.gguf", "--output", one, *flags)[0] == 1
    code, summary, err = merge(odd_sheet, many, *reversed(parts), *flags)
    assert code == 1
    assert (summary["rows"], summary["unanswered"], summary["from_journal"]) == (43, 2, 41)
    assert "the passage is missing" in err
    assert "longer than the context" in err
    assert many.read_bytes() == one.read_bytes()
    before = many.stat().st_mtime_ns, (tmp_path / "many.csv.journal.jsonl").read_bytes()
    code, summary, err = merge(odd_sheet, many, *parts, *flags)
    assert (code, summary["already_made"]) == (1, True)
    assert (many.stat().st_mtime_ns, (tmp_path / "many.csv.journal.jsonl").read_bytes()) == before
    code, summary, _ = predict(odd_sheet, "--model", models / "model.gguf", "--output", many, *flags)
    assert summary["already_made"]


def test_packed_rows_have_the_same_company_on_every_machine(sheet: Path, models: Path, tmp_path: Path) -> None:
    model = ModelOptions(models / "model.gguf", threads=1, pack_tokens=400)
    settings = PredictSettings(sheet, tmp_path / "a.csv", model, columns="full")
    parts = [replace(settings, shard=Shard(number, 2)) for number in (1, 2)]
    for part in (settings, *parts):
        list(PredictRun(part))
    paths = [part.answers.path for part in parts]
    output = AnswersFile(tmp_path / "merged.csv", "full")
    merge_shards(paths, settings.sheet_file, output, restart=False)
    assert output.path.read_bytes() == settings.output.read_bytes()
    lone = replace(settings, output=tmp_path / "lone.csv", model=replace(model, pack_tokens=0))
    list(PredictRun(lone))
    packed, single = (
        {line for line in Path(f"{run.output}.journal.jsonl").read_bytes().splitlines() if b'"scores"' in line}
        for run in (settings, lone)
    )
    assert len(packed) == len(single) == 39
    assert packed != single  # a packed row has other bits than a lone one: this test can fail


def test_a_missing_part_is_named_and_the_rest_kept(
    odd_sheet: Path, models: Path, parts: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "a.csv"
    code, _, err = merge(odd_sheet, output, parts[0], parts[2])
    assert code == 1
    assert "shard 2/3 is not there or not complete" in err
    assert not output.exists()
    kept = (tmp_path / "a.csv.journal.jsonl").read_bytes().count(b'"scores"')
    assert kept > 0
    code, summary, _ = merge(odd_sheet, output, parts[1])
    assert (code, summary["unanswered"]) == (1, 2)
    assert (tmp_path / "a.csv.journal.jsonl").read_bytes().count(b'"scores"') == 40


def test_what_the_parts_lack_one_machine_can_finish(
    odd_sheet: Path, models: Path, parts: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "a.csv"
    merge(odd_sheet, output, parts[0])
    code, summary, _ = predict(odd_sheet, "--model", models / "model.gguf", "--output", output)
    assert code == 1
    assert summary["from_journal"] > 0
    assert summary["computed"] > 0
    merge(odd_sheet, tmp_path / "b.csv", *parts)
    assert output.read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_part_that_was_cut_short_is_named(odd_sheet: Path, parts: list[Path], tmp_path: Path) -> None:
    short = tmp_path / "short.journal.jsonl"
    lines = Path(f"{parts[1]}.journal.jsonl").read_bytes().splitlines(keepends=True)
    short.write_bytes(b"".join(lines[:5]) + lines[5][:20])
    code, _, err = merge(odd_sheet, tmp_path / "a.csv", parts[0], short, parts[2])
    assert code == 1
    assert "shard 2/3 is not there or not complete" in err


def test_parts_of_another_model_or_setting_are_refused(
    odd_sheet: Path, models: Path, parts: list[Path], tmp_path: Path
) -> None:
    for flags, word in {("--ctx-size", "512"): "ctx_size", ("--question-format", "lab4"): "formats"}.items():
        output = tmp_path / f"{word}.csv"
        predict(odd_sheet, "--model", models / "model.gguf", "--output", output, "--shard", "2/3", *flags)
        code, _, err = merge(odd_sheet, tmp_path / "a.csv", parts[0], Shard(2, 3).path(output))
        assert code == 2
        assert word in err
    code, _, err = merge(odd_sheet, tmp_path / "a.csv", tmp_path / "none.csv")
    assert (code, "there is no journal" in err) == (2, True)
    assert not list(tmp_path.glob("a.csv*"))


def test_a_shard_resumes_by_itself(odd_sheet: Path, models: Path, parts: list[Path]) -> None:
    before = parts[0].read_bytes()
    _, summary, _ = predict(
        odd_sheet, "--model", models / "model.gguf", "--output", parts[0].with_name("a.csv"), "--shard", "1/3"
    )
    assert summary["already_made"]
    assert parts[0].read_bytes() == before


def test_every_row_is_in_exactly_one_shard() -> None:
    rows = [SheetRow(number, str(number), question) for number, question in enumerate(tiny.questions(200))]
    rows.append(SheetRow(200, "200", None, "the passage is missing"))
    for count in (1, 2, 7, 64):
        shards = [Shard(number, count).rows(rows, bucket_count(200)) for number in range(1, count + 1)]
        assert sorted(row.number for shard in shards for row in shard) == list(range(201))
    assert WHOLE.path(Path("x/a.csv")) == Path("x/a.csv")
    assert Shard(2, 3).path(Path("x/a.b.csv")) == Path("x/a.b.shard-2-of-3.csv")


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/65", "a/b", "1/-2", "１/３x"])
def test_shards_that_do_not_exist(text: str) -> None:
    with pytest.raises(ConfigError):
        Shard.parse(text)


@pytest.mark.shared
@pytest.mark.slow
def test_the_real_exam_in_three_parts(shared_data: Path, formats: Formats, tmp_path: Path) -> None:
    model = make_gguf.model(tmp_path / "zh.gguf", shared_data / "tokenizer" / "llama2-zh-55296.model", formats=formats)
    sheet = shared_data / "formosa" / "AI1000.xlsx"
    flags = ["--model", model, "--output", tmp_path / "a.csv", "--columns", "full"]
    assert predict(sheet, *flags)[0] == 0
    sizes = [predict(sheet, *flags, "--shard", f"{number}/3")[1]["rows"] for number in (1, 2, 3)]
    assert sum(sizes) == 1000
    assert min(sizes) > 200
    shards = [Shard(number, 3).path(tmp_path / "a.csv") for number in (1, 2, 3)]
    assert merge(sheet, tmp_path / "merged.csv", *shards, "--columns", "full")[0] == 0
    assert (tmp_path / "merged.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
