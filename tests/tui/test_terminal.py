"""The chat on a real terminal: what it paints, and how it leaves."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from runtime.engine import Sampling
from tests.tui.terminal import PROMPT, Terminal
from tui.chats.keeper import ChatKeeper
from tui.chats.store import ChatStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None or not sys.platform.startswith("linux"), reason="needs tmux"),
]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(tmp_path / "s") as terminal:
        yield terminal


def assert_left(terminal: Terminal, code: int) -> None:
    """The program is gone, said `code`, and the terminal echoes what is typed."""
    terminal.wait_for(f"rc={code}\n")
    assert terminal.is_restored()
    terminal.type("echo back-$((40 + 2))")
    terminal.press("Enter")
    terminal.wait_for("\nback-42")


def test_the_first_frame_comes_before_the_model_and_one_can_write_meanwhile(terminal: Terminal) -> None:
    terminal.start("--load-seconds", "3", "--reply", "loaded at last")
    terminal.wait_for("loading")
    assert "Ask something" in terminal.screen()
    terminal.type("early")
    terminal.wait(lambda: "> early" in " ".join(terminal.screen().split()) and "loading" in terminal.screen())
    terminal.wait_for("ready")
    terminal.press("Enter")
    terminal.wait_for("loaded at last")
    terminal.press("C-q")
    assert_left(terminal, 0)


def test_chinese_and_tibetan_arrive_and_the_cursor_follows(terminal: Terminal) -> None:
    terminal.start("--reply", "好的")
    terminal.wait_for("ready")
    text = "你好，世界。「藏文」བོད་ཡིག"
    terminal.type(text)
    terminal.wait_for(text)
    row, line = next((row, line) for row, line in enumerate(terminal.screen().splitlines()) if text in line)
    column = cell_len(line[: line.index(text) + len(text)])
    terminal.wait(lambda: terminal.cursor() == (column, row))
    terminal.press("C-j")
    terminal.type("[INST] second [/b]")
    terminal.wait_for("[/b]")
    terminal.press("Enter")
    terminal.wait(lambda: all(part in terminal.screen() for part in ("You", "好的", "2 tokens")))
    lines = [line.strip(" ▌") for line in terminal.screen().splitlines()]
    at = lines.index("You")
    assert lines[at + 1 : at + 3] == [text, "[INST] second [/b]"]
    assert lines.count("You") == 1


def test_escape_stops_and_ctrl_q_leaves_while_writing(terminal: Terminal) -> None:
    terminal.start("--reply", "字", "--repeat", "4000", "--tokens-per-second", "30")
    terminal.wait_for("ready")
    terminal.type("one")
    terminal.press("Enter")
    terminal.wait_for("字字字")
    terminal.press("Escape")
    terminal.wait_for("stopped")
    terminal.type("two")
    terminal.press("Enter")
    terminal.wait_for("writing")
    terminal.press("C-q")
    assert_left(terminal, 0)


def test_escape_stops_the_reading_of_a_prompt(terminal: Terminal) -> None:
    terminal.start("--prefill-seconds", "600")
    terminal.wait_for("ready")
    terminal.type("one")
    terminal.press("Enter")
    terminal.wait_for("reading the prompt")
    terminal.press("Escape")
    terminal.wait_for("stopped before the first word")


@pytest.mark.parametrize("moment", ["loading", "reading the prompt"])
def test_ctrl_q_leaves_while_the_model_is_busy(terminal: Terminal, moment: str) -> None:
    terminal.start("--load-seconds", "0" if moment != "loading" else "600", "--prefill-seconds", "600")
    terminal.wait_for("Ask something")
    terminal.type("one")
    terminal.press("Enter")
    terminal.wait_for(moment)
    terminal.press("C-q")
    assert_left(terminal, 0)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_signals_restore_the_terminal(terminal: Terminal, name: str, code: int) -> None:
    terminal.start("--reply", "字", "--repeat", "4000", "--tokens-per-second", "30")
    terminal.wait_for("ready")
    terminal.type("one")
    terminal.press("Enter")
    terminal.wait_for("字字")
    os.kill(terminal.child(), signal.Signals[name])
    assert_left(terminal, code)


def test_a_closed_terminal_ends_the_program(tmp_path: Path) -> None:
    with Terminal(tmp_path / "s") as terminal:
        terminal.start("--reply", "字", "--repeat", "4000", "--tokens-per-second", "30")
        terminal.wait_for("ready")
        child = terminal.child()
        terminal._run("kill-pane", "-t", "t")
        terminal._run = lambda *_: ""  # type: ignore[method-assign]  # the server has gone with its last pane
        terminal.wait(lambda: not Path(f"/proc/{child}").exists())


def test_a_model_that_cannot_be_loaded_is_told_after_the_screen(terminal: Terminal) -> None:
    terminal.start("--load-error", "x.gguf is broken")
    assert_left(terminal, 2)
    assert "error: x.gguf is broken" in terminal.screen()


def test_a_crash_is_one_sentence_and_the_terminal_is_restored(terminal: Terminal) -> None:
    terminal.start("--crash")
    assert_left(terminal, 1)
    assert "unexpected ZeroDivisionError" in terminal.screen()
    assert "Traceback" not in terminal.screen()


def test_a_large_paste_is_not_sent_and_can_be_undone(terminal: Terminal) -> None:
    terminal.start("--reply", "ok")
    terminal.wait_for("ready")
    terminal.paste("\n".join(f"貼上 {line}" for line in range(1000)))
    terminal.wait_for("貼上 999")
    assert "You" not in terminal.screen()
    terminal.press("C-z")
    terminal.wait_for("Ask something")
    terminal.press("C-y")
    terminal.wait_for("貼上 999")
    terminal.press("Enter")
    terminal.wait_for("ok")


def test_plain_on_a_terminal_that_cannot_paint(terminal: Terminal) -> None:
    terminal.type("export TERM=dumb")
    terminal.press("Enter")
    terminal.start("--reply", "答案")
    terminal.wait_for("\n>")
    terminal.type("你好")
    terminal.press("Enter")
    terminal.wait_for("\n答案\n")
    terminal.press("C-d")
    assert_left(terminal, 0)


def test_a_pipe_gives_text_without_escapes() -> None:
    command = [sys.executable, "-m", "tests.tui.scripted", "--reply", "答案是 2。\x1b[31m"]
    result = subprocess.run(command, input="你好".encode(), capture_output=True, timeout=60)
    assert result.returncode == 0
    assert result.stdout.decode() == "答案是 2。␛[31m\n"
    assert b"\x1b" not in result.stdout + result.stderr


def test_a_prompt_on_the_command_line_is_said_first_on_the_screen_and_in_a_pipe(terminal: Terminal) -> None:
    terminal.start("--reply", "好的", "-p", "你好")
    terminal.wait(lambda: all(part in terminal.screen() for part in ("你好", "好的", "ready")))
    terminal.press("C-q")
    assert_left(terminal, 0)
    command = [sys.executable, "-m", "tests.tui.scripted", "--reply", "好的", "-p", "你好"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (result.returncode, result.stdout.decode()) == (0, "好的\n")


def test_what_is_written_only_grows_and_never_turns_back_into_its_signs(tmp_path: Path) -> None:
    """Every frame that tmux has is looked at: none is blank, none has less, none shows what had been rendered as raw."""
    reply = "## 標題一\n\n這是**粗體**文字。\n\n- 一二三\n- 四五六\n\n```py\nx = 1\n```\n\n| 甲 | 乙 |\n|--|--|\n| 1 | 2 |\n\n最後一句結束。"
    with Terminal(tmp_path / "s", 80, 45) as terminal:
        terminal.start("--reply", reply, "--tokens-per-second", "25")
        terminal.wait_for("ready")
        terminal.type("go")
        terminal.press("Enter")
        seen: list[str] = []
        while not (seen and "ready" in seen[-1] and "最後一句結束" in seen[-1]):
            frame = terminal.screen()
            if seen or ("writing" in frame and "go" in frame):  # the first frame may come between the two
                seen.append(frame)
            assert len(seen) < 2000
            time.sleep(0.02)
    said = [frame[frame.index("go") :] for frame in seen]
    counts = [sum(character in frame for character in "標題粗體文字一二三四五六甲乙最後句結束") for frame in said]
    assert counts == sorted(counts)
    for sign, rendered in (
        ("## 標", "標題一"),
        ("**粗體**", "文字"),
        ("- 一", "• 一"),
        ("```", "x = 1"),
        ("|--", "──┼"),
    ):
        first = next(at for at, frame in enumerate(said) if rendered in frame)
        assert not any(sign in frame for frame in said[first + 1 :]), sign
    assert "最後一句結束。" in said[-1]


@pytest.mark.parametrize("scrolled", [False, True], ids=["at-its-end", "all-in-view"])
def test_keys_in_a_chat_of_three_hundred_messages_cost_little_and_so_does_its_memory(
    terminal: Terminal, tmp_path: Path, scrolled: bool
) -> None:
    """Thirty milliseconds a key and 150 MB are promised; a busy machine gets twice the milliseconds."""
    keeper = ChatKeeper(ChatStore(tmp_path / "chats"), model="m", system=None, sampling=Sampling())
    for number in range(150):
        keeper.ask(f"question {number}")
        keeper.grow(
            "## 標題\n\n這是**一段**文字 `x`。\n\n- 一\n- 二\n\n```py\nx=1\n```\n\n| a | b |\n|--|--|\n| 1 | 2 |\n"
        )
        keeper.settle("done")
    keeper.close()
    terminal.resize(120, 40)
    terminal.start("--resume")
    terminal.wait_for("ready")
    child = terminal.child()
    if scrolled:
        terminal.wait(lambda: bool(terminal.press("C-Home")) or "question 0\n" in terminal.screen())
    time.sleep(1)
    begun = processor_seconds(child)
    for _ in range(30):
        terminal.type("a")
        time.sleep(0.03)
    terminal.wait_for("a" * 30)
    time.sleep(0.5)
    assert (processor_seconds(child) - begun) / 30 < 0.06
    assert resident_megabytes(child) < 150


def resident_megabytes(process: int) -> float:
    """Memory of a process that is in RAM."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP"])
def test_what_was_seen_before_the_end_is_there_again(terminal: Terminal, name: str) -> None:
    terminal.start("--reply", "字元 ", "--repeat", "4000", "--tokens-per-second", "40")
    terminal.wait_for("ready")
    terminal.type("問題")
    terminal.press("Enter")
    terminal.wait(lambda: terminal.screen().count("字元") >= 50)
    seen = terminal.screen().count("字元")
    time.sleep(1)
    os.kill(terminal.child(), signal.Signals[name])
    terminal.wait_for("rc=")
    terminal.type("stty sane; reset")  # what a killed program could not do
    terminal.press("C-j")
    terminal.wait(lambda: terminal.screen().strip() == PROMPT)
    terminal.start("--resume", "--reply", "好")
    terminal.wait_for("ready")
    assert terminal.screen().count("字元") >= seen
    assert "問題" in terminal.screen()
    assert "stopped" in terminal.screen()
    terminal.type("再來")
    terminal.press("Enter")
    terminal.wait_for("好")


def test_a_paste_without_brackets_is_not_sent_line_by_line(terminal: Terminal) -> None:
    terminal.start("--reply", "ok")
    terminal.wait_for("ready")
    terminal.paste("\n".join(f"貼上 {line}" for line in range(300)) + "\n", bracketed=False)
    terminal.wait_for("貼上 299")
    terminal.wait_for("like a paste")
    assert "You" not in terminal.screen()
    terminal.press("Enter")
    terminal.wait_for("ok")
    assert terminal.screen().count("You") <= 1


def test_one_command_of_keys_types_and_sends(terminal: Terminal) -> None:
    terminal.start("--reply", "好的")
    terminal.wait_for("ready")
    terminal.press("h", "i", "Enter")
    terminal.wait_for("好的")


def test_the_interface_speaks_chinese(terminal: Terminal) -> None:
    terminal.start("--reply", "好的", "--lang", "zh-Hant")
    terminal.wait_for("就緒")
    terminal.press("F1")
    terminal.wait_for("按鍵與指令")
    terminal.press("Escape")
    terminal.wait(lambda: "按鍵與指令" not in terminal.screen())
    terminal.press("C-q")
    assert_left(terminal, 0)


def test_a_copy_reaches_tmux(terminal: Terminal) -> None:
    terminal.start("--reply", "答案 是 2")
    terminal.wait_for("ready")
    terminal.type("one")
    terminal.press("Enter")
    terminal.wait_for("是 2")
    terminal.type("/copy")
    terminal.press("Enter")
    terminal.wait_for("Copied to tmux")
    assert terminal._run("show-buffer") == "答案 是 2"


def test_sizes_change_at_random_while_a_reply_is_written(terminal: Terminal) -> None:
    chance = random.Random(1)
    terminal.start(
        "--reply",
        "## 標題\n\n- 一二三\n- 四\n\n| a | b |\n|--|--|\n| 1 | 2 |\n\n",
        "--repeat",
        "40",
        "--tokens-per-second",
        "60",
    )
    terminal.wait_for("ready")
    terminal.type("one")
    terminal.press("Enter")
    for _ in range(30):
        terminal.resize(chance.randint(5, 150), chance.randint(3, 50))
        time.sleep(0.05)
    terminal.resize(80, 24)
    terminal.wait_for("•")
    terminal.press("Escape")
    terminal.wait_for("ready")
    terminal.press("C-q")
    assert_left(terminal, 0)


def test_a_token_costs_little_and_waiting_nothing(terminal: Terminal) -> None:
    """Processor time, not the wall's. Four milliseconds a token on a quiet machine; here is room for a busy one."""
    terminal.start(
        "--reply", "## 標題\n\n這是**一段**文字。\n\n1. 一\n2. 二\n\n", "--repeat", "60", "--tokens-per-second", "30"
    )
    terminal.wait_for("ready")
    child = terminal.child()
    terminal.type("one")
    terminal.press("Enter")
    terminal.wait_for("writing")
    begun = processor_seconds(child)
    time.sleep(10)
    assert (processor_seconds(child) - begun) / 300 < 0.008
    terminal.press("Escape")
    terminal.wait_for("stopped")
    time.sleep(1)
    begun = processor_seconds(child)
    time.sleep(3)
    assert (processor_seconds(child) - begun) / 3 < 0.03


def processor_seconds(process: int) -> float:
    """User and system time a process has had."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
