"""The batch run from inside: the order of work, engines that fail, packs, and what is said of odd rows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from configs.errors import ConfigError, ToolError
from configs.exam import Question, QuestionFormat
from configs.sheets import SheetRow
from runtime import scoring
from runtime.answering import Asker
from runtime.batch import PredictRun, PredictSettings, Scored
from runtime.buckets import MOST_SHARDS, bucket_count, in_buckets, shared_passages
from runtime.engine import ModelOptions, load_engine
from runtime.interface import ScoreRequest
from runtime.results import Result
from runtime.rows import Questions
from tests import tiny


class Watched:
    """The real engine; counts the calls, and fails at those it was told."""

    def __init__(self, failing: Sequence[int] = ()) -> None:
        self.failing = failing
        self.calls: list[list[tuple[int, ...]]] = []
        self.inner: Any = None

    def load(self, options: ModelOptions) -> Any:
        self.inner = load_engine(options)
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        self.calls.append([tuple(request.prompt) for request in requests])
        if len(self.calls) in self.failing:
            raise ToolError("decoding failed")
        return self.inner.score(requests)


@pytest.fixture
def model(models: Path) -> ModelOptions:
    return ModelOptions(models / "model.gguf", threads=1)


def run(settings: PredictSettings, engine: Watched | None = None) -> PredictRun:
    prediction = PredictRun(settings, (engine or Watched()).load)
    list(prediction)
    return prediction


def test_rows_of_a_passage_are_computed_together_wherever_they_stand(model: ModelOptions, tmp_path: Path) -> None:
    questions = tiny.questions(24)
    random.Random(0).shuffle(questions)
    engine = Watched()
    run(PredictSettings(tiny.sheet(tmp_path / "s.xlsx", questions), tmp_path / "a.csv", model), engine)
    assert [len(call) for call in engine.calls] == [1] * 24
    fresh = load_engine(model)
    passages = {question.passage: fresh.tokenizer.plain(question.passage) for question in questions}
    fresh.close()
    names = [
        next(passage for passage, ids in passages.items() if is_inside(ids[2:-2], prompt)) for (prompt,) in engine.calls
    ]
    changes = sum(before != after for before, after in pairwise(names))
    assert changes == len(set(names)) - 1 == 11
    lines = (tmp_path / "a.csv").read_text().split()
    assert [line.split(",")[0] for line in lines[1:]] == [str(number) for number in range(1, 25)]


def is_inside(part: Sequence[int], whole: Sequence[int]) -> bool:
    return any(tuple(whole[at : at + len(part)]) == tuple(part) for at in range(len(whole) - len(part) + 1))


def test_a_row_the_engine_fails_at_is_named_and_tried_again_by_the_next_run(
    sheet: Path, model: ModelOptions, tmp_path: Path
) -> None:
    whole = run(PredictSettings(sheet, tmp_path / "whole.csv", model))
    settings = PredictSettings(sheet, tmp_path / "a.csv", model)
    first = run(settings, Watched(failing=(5, 6, 9)))
    assert first.summary is not None
    left = first.summary.unanswered
    assert left >= 3
    assert first.summary.computed == 40 - left
    assert {reason for _, _, reason in first.summary.errors} == {"the engine failed: decoding failed"}
    engine = Watched()
    second = run(settings, engine)
    assert second.summary is not None
    assert (len(engine.calls), second.summary.unanswered, second.summary.from_journal) == (3, 0, 40 - left)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    again = run(settings)
    assert again.summary is not None
    assert again.summary.already_made
    assert whole.summary is not None
    assert again.summary.correct == whole.summary.correct


def test_an_engine_that_fails_at_every_row_ends_the_run(sheet: Path, model: ModelOptions, tmp_path: Path) -> None:
    engine = Watched(failing=range(4, 100))
    with pytest.raises(ToolError, match="decoding failed"):
        run(PredictSettings(sheet, tmp_path / "a.csv", model), engine)
    assert len(engine.calls) == 6
    assert not (tmp_path / "a.csv").exists()


def test_a_restart_whose_model_does_not_load_forgets_nothing(sheet: Path, model: ModelOptions, tmp_path: Path) -> None:
    settings = PredictSettings(sheet, tmp_path / "a.csv", model)
    run(settings)
    journal = tmp_path / "a.csv.journal.jsonl"
    before = journal.read_bytes(), (tmp_path / "a.csv").read_bytes()

    def refuse(_: ModelOptions) -> Any:
        raise ToolError("no memory")

    with pytest.raises(ToolError, match="no memory"):
        list(PredictRun(replace(settings, restart=True), refuse))
    assert (journal.read_bytes(), (tmp_path / "a.csv").read_bytes()) == before
    prediction = run(settings)
    assert prediction.summary is not None
    assert prediction.summary.already_made


@pytest.mark.parametrize("kept", [1, 7, 23])
def test_a_torn_pack_is_computed_again_in_the_same_company(
    sheet: Path, model: ModelOptions, tmp_path: Path, kept: int
) -> None:
    packed = replace(model, pack_tokens=400)
    settings = PredictSettings(sheet, tmp_path / "a.csv", packed, columns="full")
    engine = Watched()
    run(settings, engine)
    assert max(map(len, engine.calls)) > 1
    whole = (tmp_path / "a.csv").read_bytes()
    journal = tmp_path / "a.csv.journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    results = [line for line in lines if b'"scores"' in line]
    journal.write_bytes(b"".join(lines[:2] + results[:kept]))
    (tmp_path / "a.csv").unlink()
    resumed = Watched()
    run(settings, resumed)
    assert (tmp_path / "a.csv").read_bytes() == whole
    assert all(call in engine.calls for call in resumed.calls)
    assert len(resumed.calls) < len(engine.calls) or kept == 1
    again = [line for line in journal.read_bytes().splitlines(keepends=True) if b'"scores"' in line]
    assert sorted(again) == sorted(results)


def test_a_row_that_is_too_long_says_how_and_where(model: ModelOptions, tmp_path: Path) -> None:
    rows = [Question("短", "問？" * 2000, ("甲", "乙"), 1), Question("短", "問？", ("甲", "乙"), 1)]
    prediction = run(
        PredictSettings(tiny.sheet(tmp_path / "s.xlsx", [pad(row) for row in rows]), tmp_path / "a.csv", model)
    )
    assert prediction.summary is not None
    ((number, _, reason),) = prediction.summary.errors
    assert number == 1
    assert "longer than the context of 2048" in reason
    assert reason.endswith("of them are the question")


def test_a_smaller_context_takes_no_answer_back(model: ModelOptions, tmp_path: Path) -> None:
    passage = "小明說到秋天。" * 10
    rows = [pad(Question(passage, f"第{number}問？", ("甲", "乙"), 1)) for number in range(4)]
    sheet = tiny.sheet(tmp_path / "s.xlsx", rows)
    run(PredictSettings(sheet, tmp_path / "a.csv", model))
    journal = tmp_path / "a.csv.journal.jsonl"
    lines = [line for line in journal.read_bytes().splitlines(keepends=True) if b'"output"' not in line]
    journal.write_bytes(b"".join(lines[:-1]))
    (tmp_path / "a.csv").unlink()
    small = run(PredictSettings(sheet, tmp_path / "a.csv", replace(model, ctx_size=40)))
    assert small.summary is not None
    assert (small.summary.from_journal, small.summary.unanswered) == (3, 1)


def test_the_encoding_of_a_sheet_is_said(model: ModelOptions, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes("文章,問題,選項1,選項2\n小明說到秋天。,說到什麼？,春天,秋天\n".encode("cp950"))
    settings = PredictSettings(tmp_path / "s.csv", tmp_path / "a.csv", model)
    assert any(note.startswith("s.csv is read as cp950") for note in run(settings).notes)
    forced = run(replace(settings, encoding="big5", output=tmp_path / "b.csv"))
    assert not any("is read as" in note for note in forced.notes)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def pad(question: Question) -> Question:
    return replace(question, choices=(*question.choices, "丙", "丁"))


def test_options_that_a_conversion_would_make_the_same_are_named() -> None:
    labels = QuestionFormat.load("formosa").with_convert("t2s")
    odd = Question("文", "誰？", ("李乾國", "李幹國"), 1)
    plain = Question("文", "誰？", ("李國", "王國"), 1)
    rows = [SheetRow(1, "1", odd), SheetRow(2, "2", plain)]
    questions = Questions(rows, labels, {})
    results = {key: Result(((-0.1, -3.0),), 9) for key in questions.unique}
    first, second = questions.answered(results)
    assert first.warnings == ("not converted by t2s: options would become the same",)
    assert second.warnings == ()


def test_buckets_keep_passages_whole_and_depend_on_nothing_else() -> None:
    questions = {str(number): question for number, question in enumerate(tiny.questions(400))}
    count = bucket_count(len(questions))
    assert MOST_SHARDS <= count < 400
    buckets = in_buckets(questions, count)
    assert {key: question for bucket in buckets for key, question in bucket.items()} == questions
    homes = [{question.passage for question in bucket.values()} for bucket in buckets]
    assert sum(map(len, homes)) == len(set.union(*homes))
    few = in_buckets({key: questions[key] for key in ("7", "399")}, count)
    assert all(any(small.items() <= bucket.items() for bucket in buckets) for small in few)


def test_a_run_can_be_looked_at_before_and_while_it_goes_on(sheet: Path, model: ModelOptions, tmp_path: Path) -> None:
    settings = PredictSettings(sheet, tmp_path / "a.csv", model)
    watched = PredictRun(settings, Watched().load)
    paper = watched.prepare()
    watched.peek()
    assert (len(paper.questions.rows), len(paper.questions.unique), len(watched.results)) == (40, 39, 0)
    assert not any(row.answer or row.error for row in watched.rows())
    assert list(tmp_path.iterdir()) == []  # looking locks and writes nothing
    seen: dict[int, Any] = {}
    events = iter(watched)
    for event in events:
        if isinstance(event, Scored):
            seen |= watched.rows_of(event.key)
        if event.done == 25:
            break
    events.close()
    later = PredictRun(settings)
    later.peek()
    assert len(later.results) == 25
    assert sum(row.answer is not None for row in later.rows()) in (25, 26)  # two rows are the same
    assert not (tmp_path / "a.csv").exists()
    rest = PredictRun(settings, Watched().load)
    for event in rest:
        if isinstance(event, Scored):
            seen |= rest.rows_of(event.key)
    assert rest.summary is not None
    assert rest.summary.from_journal >= 25
    assert [seen[place] for place in range(40)] == rest.rows()
    with pytest.raises(ConfigError, match="--restart"):
        PredictRun(replace(settings, debias="cyclic")).peek()


def test_a_row_that_does_not_fit_can_be_seen_while_the_run_goes_on(
    sheet: Path, model: ModelOptions, tmp_path: Path
) -> None:
    long = Question("長" * 3000, "？", ("甲", "乙"))
    path = tiny.sheet(tmp_path / "s.xlsx", [replace(long, choices=("甲", "乙", "丙", "丁")), *tiny.questions(3)])
    watched = PredictRun(PredictSettings(path, tmp_path / "a.csv", model), Watched().load)
    for event in watched:
        if isinstance(event, Scored):
            (key,) = watched.refused
            (row,) = watched.rows_of(key).values()
            assert "longer than the context" in row.error


def test_a_bucket_tells_of_its_passages_what_the_sheet_tells() -> None:
    questions = [*tiny.questions(40), *tiny.questions(41)[40:]]  # the last passage is asked about once
    whole = shared_passages(questions)
    keyed = {str(number): question for number, question in enumerate(questions)}
    parts = [shared_passages(bucket.values()) for bucket in in_buckets(keyed, 64)]
    assert frozenset().union(*parts) == whole
    assert questions[-1].passage not in whole
    assert len(whole) == 20
    same = [Question("文", "問", ("a", "b"), 1), Question("文", "問", ("a", "b"), 2), Question("", "x", ("a", "b"))]
    assert not shared_passages(same)  # one question, whatever its key says


def test_prompts_that_do_not_fit_the_memory_for_them_are_made_again(
    sheet: Path, model: ModelOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, calls = [], []
    made = Asker.requests
    monkeypatch.setattr(Asker, "requests", lambda *args, **named: calls.append(1) or made(*args, **named))
    for tokens in (1 << 21, 700, 0):
        monkeypatch.setattr(scoring, "_READY_TOKENS", tokens)
        calls.clear()
        settings = PredictSettings(sheet, tmp_path / f"{tokens}.csv", model, columns="full")
        for _ in PredictRun(settings):
            pass
        found.append((settings.output.read_bytes(), len(calls)))
    whole, some, none = found
    assert whole[0] == some[0] == none[0]
    assert (whole[1], none[1]) == (39, 78)
    assert 39 < some[1] < 78
