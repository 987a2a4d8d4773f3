"""Two models side by side on the screen, driven key by key on scripted engines."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from configs.errors import ConfigError
from runtime.engine import Sampling
from runtime.scripted import ScriptedEngine
from tests.tui.comparing import LABELS, Examinee, comparison, prepared, sheet_rows
from tests.tui.driving import prompt, say, status, text_of, until
from tui.compare.ledger import Filter
from tui.screens.compare_row import CompareRowScreen
from tui.widgets.compare_round import CompareRound
from tui.widgets.message_view import Note
from tui.widgets.row_table import RowTable
from tui.widgets.side_card import SideCard
from tui.words import choose, words
from tui.words.comparing import compare_words


def rounds(app: Any) -> list[CompareRound]:
    return list(app.screen.query(CompareRound))


async def ready(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: status(pilot.app).state == words().ready)


async def concluded(pilot: Pilot[Any], count: int) -> CompareRound:
    """Wait until so many questions have been answered by both."""
    await until(pilot, lambda: len(rounds(pilot.app)) == count and status(pilot.app).state == words().ready)
    return rounds(pilot.app)[-1]


def shown(one: CompareRound) -> list[str]:
    """What the two replies show."""
    return [str(reply.content) for reply in one.replies]


async def test_both_reply_with_one_seed_and_the_screen_says_where_they_part(tmp_path: Path) -> None:
    engines = [ScriptedEngine(["答案是 2。因為樹上。"]), ScriptedEngine(["答案是 3。因為河岸。"])]
    async with comparison(tmp_path, engines) as (_app, pilot):
        await ready(pilot)
        await say(pilot, "牠在哪裡？")
        one = await concluded(pilot, 1)
        assert [reply.text for reply in one.replies] == ["答案是 2。因為樹上。", "答案是 3。因為河岸。"]
        assert one.seed is not None
        assert one.differences is not None
        assert one.differences.same_until == len("答案是 ")
        marked = [[text for text, only in parts if only] for parts in (one.differences.first, one.differences.second)]
        assert marked == [["2", "樹上"], ["3", "河岸"]]
        spans = [{str(reply.content)[span.start : span.end] for span in reply.content.spans} for reply in one.replies]
        assert {"2", "樹上"} < spans[0]
        assert {"3", "河岸"} < spans[1]
        assert str(one.seed) in str(one.query_one(".verdict").render())
    assert [text_of(engine.prompts[0]).count("牠在哪裡？") for engine in engines] == [1, 1]
    assert all(engine.closed for engine in engines)


async def test_the_same_replies_are_called_the_same_and_markdown_is_one_key_away(tmp_path: Path) -> None:
    engines = [ScriptedEngine(["**好**", "**甲**"]), ScriptedEngine(["**好**", "**乙**"])]
    async with comparison(tmp_path, engines) as (_app, pilot):
        await say(pilot, "一")
        one = await concluded(pilot, 1)
        assert compare_words().same in str(one.query_one(".verdict").render())
        assert "\n好\n" in shown(one)[0]  # nothing to mark: Markdown
        await say(pilot, "二")
        other = await concluded(pilot, 2)
        assert "**甲**" in shown(other)[0]
        await pilot.press("f2")
        assert "\n甲\n" in shown(other)[0]
        await pilot.press("f2")
        assert "**乙**" in shown(other)[1]


async def test_every_question_is_asked_by_itself_with_the_given_seed(tmp_path: Path) -> None:
    engines = [ScriptedEngine(["first"]), ScriptedEngine(["second"])]
    async with comparison(tmp_path, engines, sampling=Sampling(seed=7), system="SYS") as (_app, pilot):
        await say(pilot, "question one")
        await concluded(pilot, 1)
        await say(pilot, "question two")
        assert (await concluded(pilot, 2)).seed == 7
    for engine in engines:
        asked = text_of(engine.prompts[1])
        assert "question one" not in asked
        assert "SYS" in asked


async def test_escape_stops_the_first_and_the_second_is_not_asked(tmp_path: Path) -> None:
    engines = [ScriptedEngine(["字" * 400], tokens_per_second=50), ScriptedEngine(["never"])]
    async with comparison(tmp_path, engines) as (app, pilot):
        await ready(pilot)
        await say(pilot, "one")
        await until(pilot, lambda: "字" in rounds(app)[0].replies[0].text)
        await pilot.press("escape")
        one = await concluded(pilot, 1)
        assert shown(one)[0].endswith(words().stopped)
        assert shown(one)[1].endswith(words().stopped_unsaid)
        assert compare_words().nothing_to_compare in str(one.query_one(".verdict").render())
        assert not engines[1].prompts
        await say(pilot, "two")
        await until(pilot, lambda: len(engines[0].prompts) == 2)
        await pilot.press("escape")
        await concluded(pilot, 2)


async def test_every_reply_says_how_quickly_it_came_and_whether_it_was_cut(tmp_path: Path) -> None:
    engines = [
        ScriptedEngine(["a b c"], tokens_per_second=100, prefill_seconds=0.02),
        ScriptedEngine(["a b c d e f"], tokens_per_second=50),
    ]
    async with comparison(tmp_path, engines, sampling=Sampling(max_tokens=4)) as (_, pilot):
        await say(pilot, "one")
        one = await concluded(pilot, 1)
        feet = [reply.foot_text for reply in one.replies]
    assert feet[0] == "3 tokens, 100.0 tokens/s   first after 0.02 s"
    assert feet[1] == "4 tokens, 50.0 tokens/s   first after 0.00 s   cut (--max-tokens)"


async def test_a_question_while_they_answer_is_given_back(tmp_path: Path) -> None:
    engines = [ScriptedEngine(["字"], prefill_seconds=600), ScriptedEngine(["never"])]
    async with comparison(tmp_path, engines) as (app, pilot):
        await say(pilot, "one")
        await say(pilot, "two")
        assert prompt(app).text == "two"
        assert status(app).hint == compare_words().busy
        await pilot.press("escape")
        await concluded(pilot, 1)


async def test_where_memory_holds_one_model_the_other_is_freed_first(tmp_path: Path) -> None:
    engines = [ScriptedEngine(["a"]), ScriptedEngine(["b"])]
    async with comparison(tmp_path, engines, checked=lambda: prepared(together=False)) as (app, pilot):
        await ready(pilot)
        assert not engines[0].closed
        await say(pilot, "one")
        await concluded(pilot, 1)
        assert engines[0].closed
        assert not engines[1].closed
        await say(pilot, "two")  # B is loaded: it goes first, so that one load is enough
        await concluded(pilot, 2)
        assert engines[1].closed
        assert [reply.text for reply in rounds(app)[1].replies] == ["a", "b"]


async def test_a_model_that_fails_leaves_the_other_its_word(tmp_path: Path) -> None:
    engines = [ScriptedEngine(["a b"], error="out of breath [/b]"), ScriptedEngine(["fine"])]
    async with comparison(tmp_path, engines) as (_app, pilot):
        await say(pilot, "one")
        one = await concluded(pilot, 1)
        assert "out of breath [/b]" in shown(one)[0]
        assert "fine" in shown(one)[1]


async def test_what_cannot_be_compared_ends_the_app_with_its_error(tmp_path: Path) -> None:
    def refuse() -> Any:
        raise ConfigError("B.gguf does not say which prompt format it was trained with")

    async with comparison(tmp_path, [ScriptedEngine()] * 2, checked=refuse) as (app, pilot):
        await until(pilot, lambda: app.return_code is not None)
    assert app.return_code == 2
    assert "B.gguf" in str(app.failure)


async def test_notes_are_told_and_never_parsed(tmp_path: Path) -> None:
    checked = lambda: prepared(notes=("the vocabularies are not the same [/b]",))  # noqa: E731
    async with comparison(tmp_path, [ScriptedEngine(["a"]), ScriptedEngine(["b"])], checked=checked) as (app, pilot):
        await ready(pilot)
        assert [str(note.content) for note in app.screen.query(Note)] == ["the vocabularies are not the same [/b]"]


async def test_what_was_asked_is_exported_under_a_name_that_keeps_its_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with comparison(tmp_path / "d", [ScriptedEngine(["甲"]), ScriptedEngine(["乙"])]) as (app, pilot):
        await pilot.press("f4")
        assert status(app).hint == compare_words().nothing_to_export
        await say(pilot, "問題")
        await concluded(pilot, 1)
        await pilot.press("f4")
    (path,) = tmp_path.glob("*.md")
    assert path.name == f"{LABELS[0]} vs {LABELS[1]}.md"
    text = path.read_text(encoding="utf-8")
    assert all(part in text for part in ("## 問題", f"### A: {LABELS[0]}\n\n甲", "乙"))


# Sheets


async def sheet_done(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: status(pilot.app).state == compare_words().done)


async def test_a_sheet_is_answered_by_both_and_filtered_by_what_became_of_it(tmp_path: Path) -> None:
    rows = sheet_rows(40)
    engines = [Examinee(rows, lambda at: at % 5 == 0), Examinee(rows, lambda at: at % 4 == 0)]
    async with comparison(
        tmp_path, engines, checked=lambda: prepared(rows=rows), sheet=Path("考題.xlsx"), size=(120, 40)
    ) as (app, pilot):
        await sheet_done(pilot)
        cards = list(app.screen.query(SideCard))
        assert [(card.accuracy.correct, card.accuracy.total) for card in cards] == [(32, 40), (30, 40)]
        assert all(engine.closed for engine in engines)  # an answered sheet needs no model
        wrong = [{at for at in range(40) if at % step == 0} for step in (5, 4)]
        expected = {
            Filter.ALL: set(range(40)),
            Filter.DIFFERENT: wrong[0] ^ wrong[1],
            Filter.ONLY_FIRST: wrong[1] - wrong[0],
            Filter.ONLY_SECOND: wrong[0] - wrong[1],
            Filter.BOTH_WRONG: wrong[0] & wrong[1],
            Filter.UNANSWERED: set(),
        }
        table = app.screen.query_one(RowTable)
        for which in Filter:
            assert set(app.screen._shown) == expected[which]
            assert table.count == len(expected[which])
            await pilot.press("right")
        said = str(app.screen.query_one("#verdict").render())
        assert "65.0%" in said  # 14 of 40 differ
        assert "McNemar" in said


async def test_a_row_is_opened_with_both_probabilities_and_the_arrows_go_on(tmp_path: Path) -> None:
    rows = sheet_rows(12)
    engines = [Examinee(rows, lambda at: at == 0), Examinee(rows, lambda at: False)]
    async with comparison(
        tmp_path, engines, checked=lambda: prepared(rows=rows), sheet=Path("s.xlsx"), size=(120, 60)
    ) as (app, pilot):
        await sheet_done(pilot)
        await pilot.press("right", "enter")  # those that differ
        assert isinstance(app.screen, CompareRowScreen)
        text = str(app.screen.query_one("#row-text").render())
        question = rows[0].question
        assert question is not None
        assert all(part in text for part in (question.passage, question.question, *question.choices))
        assert text.count("55.0%") == 2  # A's wrong one and B's right one
        assert text.count("✓") == 1
        await pilot.press("escape", "left", "enter", "right")
        assert rows[1].question is not None
        assert rows[1].question.question in str(app.screen.query_one("#row-text").render())


async def test_escape_pauses_and_r_goes_on_without_asking_twice(tmp_path: Path) -> None:
    rows = sheet_rows(30)
    engines = [Examinee(rows, lambda at: False, tokens_per_second=40), Examinee(rows, lambda at: True)]
    async with comparison(tmp_path, engines, checked=lambda: prepared(rows=rows), sheet=Path("s.xlsx")) as (app, pilot):
        await until(pilot, lambda: engines[0].scored >= 3)
        await pilot.press("escape")
        await until(pilot, lambda: status(app).state == compare_words().paused)
        done = engines[0].scored
        assert done < 30
        assert not engines[1].scored
        await pilot.press("r")
        await sheet_done(pilot)
        assert [engine.scored for engine in engines] == [30, 30]


async def test_a_sheet_is_exported_for_spreadsheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = sheet_rows(8)
    engines = [Examinee(rows, lambda at: at == 0), Examinee(rows, lambda at: False)]
    async with comparison(tmp_path / "d", engines, checked=lambda: prepared(rows=rows), sheet=Path("考題.xlsx")) as (
        _,
        pilot,
    ):
        await sheet_done(pilot)
        await pilot.press("f4")
    (path,) = tmp_path.glob("*考題.csv")
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    table = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert len(table) == 8
    assert [row["Differ"] for row in table] == ["yes", *["no"] * 7]
    assert all(row[f"Answer B ({LABELS[1]})"] == row["Gold"] for row in table)


async def test_an_engine_that_breaks_leaves_what_was_answered(tmp_path: Path) -> None:
    class Breaking(Examinee):
        def score(self, requests: Any) -> list[list[float]]:
            if self.scored == 5:
                from configs.errors import ToolError

                raise ToolError("the GPU is gone")
            return super().score(requests)

    rows = sheet_rows(20)
    engines = [Breaking(rows, lambda at: False), Examinee(rows, lambda at: False)]
    async with comparison(tmp_path, engines, checked=lambda: prepared(rows=rows), sheet=Path("s.xlsx")) as (app, pilot):
        await until(pilot, lambda: "GPU is gone" in status(app).state)
        assert app.screen.query_one(RowTable).count == 20
        assert app.return_code is None


@pytest.mark.slow
async def test_ten_thousand_rows_stay_quick(tmp_path: Path) -> None:
    """Processor time of a key, at most 50 ms; only what is seen is made."""
    import time

    rows = sheet_rows(10_000)
    engines = [Examinee(rows[:0], lambda at: False), Examinee(rows[:0], lambda at: False)]
    engines[0].load_seconds = 600
    async with comparison(
        tmp_path, engines, checked=lambda: prepared(rows=rows), sheet=Path("s.xlsx"), size=(120, 40)
    ) as (app, pilot):
        table = app.screen.query_one(RowTable)
        await until(pilot, lambda: table.count == 10_000)
        begun = time.process_time()
        for _ in range(20):
            await pilot.press("down", "pagedown")
        assert (time.process_time() - begun) / 40 < 0.05
        await pilot.press("end")
        assert table.chosen == 9_999


@pytest.mark.parametrize("language", ["zh-Hant", "zh-Hans"])
async def test_the_comparison_speaks_chinese(tmp_path: Path, language: str) -> None:
    choose(language)
    async with comparison(tmp_path, [ScriptedEngine(["a"]), ScriptedEngine(["b"])]) as (app, pilot):
        await ready(pilot)
        assert compare_words().welcome in str(app.screen.query_one("#welcome").render())
        await pilot.press("f1")
        assert compare_words().help_keys[0][1] in str(app.screen.query_one("#help-card Static").render())
