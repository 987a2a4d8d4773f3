"""`runtime generate`: replies in the order of the input, one journal, seeds of their own, rules for replies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from configs.entity import EntityFormat
from configs.errors import ConfigError, ToolError
from configs.formats import Formats
from runtime.generation.replies import row_seed
from runtime.generation.run import GenerateRun, GenerateSettings
from runtime.interface import ModelOptions, Sampling
from runtime.scripted import ScriptedEngine
from tests import tiny

LINES = [f"志明今天說到第{number}件事？" for number in range(8)]
SHORT = ("--max-tokens", 12, "--temperature", 1.0)


@pytest.fixture
def model(models: Path) -> Path:
    return models / "model.gguf"


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("\n".join([*LINES, LINES[0]]) + "\n", encoding="utf-8")
    return path


def generate(*words: object) -> tuple[int, dict[str, Any], str]:
    """(exit code, what --json printed, stderr)"""
    code, out, err = tiny.run_cli("runtime.cli", "generate", *words, "--json", "--threads", 1)
    return code, json.loads(out) if out else {}, err


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_line_gets_a_reply_in_order_and_equal_lines_the_same(lines: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "out.jsonl"
    code, summary, err = generate(lines, "--model", model, "--output", output, *SHORT)
    assert code == 0, err
    assert {name: summary[name] for name in ("rows", "computed", "from_journal", "unanswered")} == {
        "rows": 9, "computed": 9, "from_journal": 0, "unanswered": 0,
    }  # fmt: skip
    rows = read(output)
    assert [row["input"] for row in rows] == [*LINES, LINES[0]]
    assert [row["id"] for row in rows] == [str(number) for number in range(1, 10)]
    assert rows[0]["output"] == rows[8]["output"]
    assert len({row["output"] for row in rows}) > 5
    journal = output.with_name("out.jsonl.journal.jsonl").read_text().splitlines()
    assert sum('"key"' in line for line in journal) == 8
    code, again, err = generate(lines, "--model", model, "--output", output, *SHORT)
    assert (code, again["already_made"], again["from_journal"]) == (0, True, 9)
    assert "already made" in err


@pytest.mark.slow
def test_a_killed_run_goes_on_and_gives_the_same_bytes(lines: Path, model: Path, tmp_path: Path) -> None:
    output, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    generate(lines, "--model", model, "--output", whole, *SHORT)
    command = [sys.executable, "-P", "-m", "runtime.cli", "generate", lines, "--model", model, "--output", output]
    words = [*map(str, command), *map(str, SHORT), "--threads", "1"]
    process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, stderr=subprocess.DEVNULL)
    journal = output.with_name("out.jsonl.journal.jsonl")
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b'"key"') >= 3):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not output.exists():
        assert journal.read_bytes().count(b'"key"') >= 3
    code, summary, _ = generate(lines, "--model", model, "--output", output, *SHORT)
    assert (code, summary["computed"] + summary["from_journal"]) == (0, 9)
    assert summary["from_journal"] >= 3
    assert output.read_bytes() == whole.read_bytes()
    keys = [json.loads(line)["key"] for line in journal.read_text().splitlines() if '"key"' in line]
    assert len(keys) == len(set(keys)) == 8


def test_the_order_of_the_file_changes_no_reply(lines: Path, model: Path, tmp_path: Path) -> None:
    generate(lines, "--model", model, "--output", tmp_path / "a.jsonl", *SHORT)
    lines.write_text("\n".join(reversed(LINES)), encoding="utf-8")
    generate(lines, "--model", model, "--output", tmp_path / "b.jsonl", *SHORT)
    forward, backward = ({row["input"]: row["output"] for row in read(tmp_path / f"{name}.jsonl")} for name in "ab")
    assert forward == backward


def test_another_seed_or_temperature_is_another_journal(lines: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    generate(lines, "--model", model, "--output", output, *SHORT, "--seed", 1)
    before = read(output)
    code, _, err = generate(lines, "--model", model, "--output", output, *SHORT, "--seed", 2)
    assert code == 2
    assert "a run with other sampling" in err
    assert "--restart" in err
    assert read(output) == before
    assert generate(lines, "--model", model, "--output", output, *SHORT, "--seed", 2, "--restart")[0] == 0
    assert [row["output"] for row in read(output)] != [row["output"] for row in before]


def test_records_that_cannot_be_answered_are_rows_and_exit_1(model: Path, tmp_path: Path) -> None:
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"id": "a", "input": "好"}, {"id": "b", "input": "長" * 3000}, {"id": "c", "input": ""}]
    path.write_text("\n".join(map(json.dumps, rows)) + '\n{"input": \n', encoding="utf-8")
    code, summary, err = generate(path, "--model", model, "--output", output, *SHORT)
    assert (code, summary["unanswered"], summary["computed"]) == (1, 3, 1)
    assert [row["status"].split(":")[0] for row in read(output)][1:] == ["error"] * 3
    assert read(output)[1]["output"] is None
    assert "row 2 (ID b) has no reply" in err
    assert "leave no room in the context of 2048" in err
    assert "row 3 (ID c) has no reply: there is nothing to ask" in err
    assert generate(path, "--model", model, "--output", output, *SHORT)[0] == 1


def test_choices_rule_every_reply(lines: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    code, _, err = generate(lines, "--model", model, "--output", output, "--choices", "贊成,反對")
    assert code == 0, err
    assert {row["output"] for row in read(output)} <= {"贊成", "反對"}
    assert {row["status"] for row in read(output)} == {"ok"}
    _, graded, _ = tiny.run_cli(
        "runtime.cli", "evaluate", output, "--sheet", gold(tmp_path, read(output)), "--task", "text", "--json"
    )
    assert json.loads(graded)["exact_match"] == 1.0


def gold(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path = folder / "gold.jsonl"
    found = [json.dumps({"input": row["input"], "output": row["output"]}, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(found), encoding="utf-8")
    return path


def test_a_schema_rules_every_reply(lines: Path, model: Path, tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    (tmp_path / "s.json").write_text(json.dumps(schema))
    output = tmp_path / "out.jsonl"
    code, _, err = generate(lines, "--model", model, "--output", output, "--schema", tmp_path / "s.json")
    assert code == 0, err
    assert all(isinstance(json.loads(row["output"])["ok"], bool) for row in read(output))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--choices", "a,a"], "distinct"),
        (["--choices", "a", "--schema", "x.json"], "cannot both rule"),
        (["--schema", "x.json"], "x.json does not exist"),
        (["--input-columns", "what=x"], "ROLE=COLUMN"),
        (["--parallel", "0"], "between 1 and"),
    ],
)
def test_wrong_words_are_exit_2_and_leave_nothing(
    words: list[str], sentence: str, lines: Path, model: Path, tmp_path: Path
) -> None:
    code, _, err = generate(lines, "--model", model, "--output", tmp_path / "out.jsonl", *words)
    assert code == 2
    assert sentence in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt"]


def test_a_strangers_output_and_the_input_are_kept(lines: Path, model: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "out.jsonl"
    stranger.write_text("mine")
    for output, sentence in ((stranger, "--overwrite"), (lines, "is the input itself"), (tmp_path, "is a folder")):
        code, _, err = generate(lines, "--model", model, "--output", output)
        assert code == 2
        assert sentence in err
    assert stranger.read_text() == "mine"
    assert generate(lines, "--model", model, "--output", stranger, *SHORT, "--overwrite")[0] == 0


@pytest.mark.parametrize("parallel", [1, 3])
def test_several_at_once_are_all_there(parallel: int, lines: Path, model: Path, tmp_path: Path) -> None:
    words = (*SHORT, "--parallel", parallel, "--choices", "甲,乙")
    code, summary, err = generate(lines, "--model", model, "--output", tmp_path / "out.jsonl", *words)
    assert (code, summary["computed"]) == (0, 9), err
    assert [row["input"] for row in read(tmp_path / "out.jsonl")] == [*LINES, LINES[0]]


class Watched(ScriptedEngine):
    """A scripted engine that says how many replies ran at once, and fails where it is told."""

    def __init__(self, failing: str = "", **settings: Any) -> None:
        super().__init__(["一。", "二。"], **settings)
        self.seeds: list[int | None] = []
        self._failing = failing

    def submit(self, prompt_ids: Any, sampling: Sampling, *, grammar: str | None = None) -> Any:
        if self._failing and self._failing in "".join(chr(i) for i in prompt_ids if i < 0x110000):
            raise ToolError("the device is gone")
        self.seeds.append(sampling.seed)
        return super().submit(prompt_ids, sampling, grammar=grammar)


def run(lines: Path, model: Path, engine: Watched, **settings: Any) -> GenerateRun:
    options = ModelOptions(model, parallel=settings.pop("parallel", 1))
    made = GenerateSettings(input=lines, output=lines.with_name("out.jsonl"), model=options, **settings)
    return GenerateRun(made, lambda _: engine)


def test_every_record_has_its_own_seed(lines: Path, model: Path) -> None:
    engine = Watched(formats=Formats.load("alpaca2"))
    batch = run(lines, model, engine, sampling=Sampling(seed=5))
    events = list(batch)
    assert engine.seeds == [row_seed(5, [{"role": "user", "content": line}]) for line in LINES]
    assert len(set(engine.seeds)) == 8
    assert all(seed is not None and 0 <= seed < 2**31 for seed in engine.seeds)
    assert (events[0].done, events[-1].done, events[-1].total) == (0, 8, 8)
    assert engine.closed


def test_system_and_instruction_reach_the_prompt(lines: Path, model: Path) -> None:
    engine = Watched(formats=Formats.load("alpaca2"))
    list(run(lines, model, engine, system="簡短回答", instruction="摘要"))
    prompt = "".join(chr(i) for i in engine.prompts[0] if i < 0x110000)
    assert "簡短回答" in prompt
    assert f"摘要\n{LINES[0]}" in prompt


def test_texts_with_entities_are_asked_as_they_were_trained(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text(json.dumps({"text": "在北京", "entity_list": []}, ensure_ascii=False) + "\n", encoding="utf-8")
    asked = EntityFormat.load("msra").question("在北京")
    engine = Watched()
    batch = run(path, model, engine)
    list(batch)
    assert asked in "".join(chr(i) for i in engine.prompts[0] if i < 0x110000)
    assert any("msra" in note for note in batch.notes)
    assert read(tmp_path / "out.jsonl")[0]["input"] == asked
    engine = Watched()
    list(run(path, model, engine, instruction="找出地名", restart=True))
    assert "找出地名\n在北京" in "".join(chr(i) for i in engine.prompts[0] if i < 0x110000)


def test_a_wording_of_entities_for_plain_lines_is_refused(lines: Path, model: Path, tmp_path: Path) -> None:
    code, _, err = generate(lines, "--model", model, "--output", tmp_path / "out.jsonl", "--question-format", "msra")
    assert code == 2
    assert "lists none" in err


def test_a_record_at_which_the_engine_fails_is_tried_again(lines: Path, model: Path) -> None:
    batch = run(lines, model, Watched("第3件"))
    list(batch)
    assert batch.summary is not None
    assert batch.summary.errors == ((4, "4", "the device is gone"),)
    batch = run(lines, model, Watched())
    list(batch)
    assert batch.summary is not None
    assert (batch.summary.computed, batch.summary.from_journal, batch.summary.unanswered) == (1, 8, 0)
    assert not any(row["status"].startswith("error") for row in read(lines.with_name("out.jsonl")))


@pytest.mark.parametrize("parallel", [1, 4])
def test_an_engine_at_its_end_ends_the_run(lines: Path, model: Path, parallel: int) -> None:
    engine = Watched("件事")
    with pytest.raises(ToolError, match="the device is gone"):
        list(run(lines, model, engine, parallel=parallel))
    assert engine.closed
    assert not lines.with_name("out.jsonl").exists()


def test_a_run_that_is_given_up_closes_the_engine_and_keeps_what_it_has(lines: Path, model: Path) -> None:
    engine = Watched()
    events = iter(run(lines, model, engine))
    for event in events:
        if event.done == 3:
            break
    events.close()  # type: ignore[attr-defined]
    assert engine.closed
    batch = run(lines, model, Watched())
    list(batch)
    assert batch.summary is not None
    assert batch.summary.from_journal >= 3


def test_schema_and_choices_at_once(lines: Path, model: Path) -> None:
    with pytest.raises(ConfigError, match="cannot both rule"):
        list(run(lines, model, Watched(), choices=("a",), schema=lines))
