"""`runtime chat`: one prompt through a pipe, and a conversation in a real terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.chat import ChatSession
from runtime.scripted import ScriptedEngine
from runtime.terminal import converse


def chat(models: Path, *args: object) -> list[str]:
    words = ["chat", "--model", models / "model.gguf", "--threads", 1, *args]
    start = "from configs.start import runtime; raise SystemExit(runtime())"
    return [sys.executable, "-P", "-c", start, *map(str, words)]


def talk(
    replies: list[str], lines: list[str], capsys: pytest.CaptureFixture[str], context_size: int = 4096
) -> tuple[str, str, ScriptedEngine]:
    """(stdout, stderr, engine) of a conversation in which a person types these lines, then Ctrl-D."""
    typed = iter(lines)
    engine = ScriptedEngine(replies, context_size=context_size)

    def read(_prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    converse(ChatSession(engine), read)
    captured = capsys.readouterr()
    return captured.out, captured.err, engine


def test_a_conversation_streams_and_remembers(capsys: pytest.CaptureFixture[str]) -> None:
    out, _, engine = talk(["一", "二"], ["甲", "", "乙"], capsys)
    assert out == "一\n二\n"
    assert len(engine.prompts[1]) > len(engine.prompts[0])


def test_reset_forgets_and_quit_ends(capsys: pytest.CaptureFixture[str]) -> None:
    out, err, engine = talk(["一"], ["甲", "/reset", "甲", "/help", "/quit", "never"], capsys)
    assert out == "一\n一\n"
    assert engine.prompts[0] == engine.prompts[1]
    assert "/quit" in err


def test_dropped_turns_are_told_before_and_a_long_message_does_not_end_the_chat(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, err, _ = talk(["一"], ["x" * 60] * 3 + ["y" * 300, "甲"], capsys, context_size=300)
    assert out == "一\n" * 4
    assert "the oldest" in err
    assert "error: this message takes" in err


def test_a_reply_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out, _, _ = talk(["紅\x1b[31m色\x07\n"], ["甲"], capsys)
    assert out == "紅[31m色\n\n"


@pytest.mark.slow
def test_a_prompt_from_a_pipe_is_answered_once_and_seeded(models: Path) -> None:
    runs = [
        subprocess.run(
            chat(models, "--seed", 3, "--temperature", 1, "--max-tokens", 20),
            input="志明今天說到什麼？\n".encode(), capture_output=True, check=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    assert runs[0].stdout == runs[1].stdout != b"\n"
    assert runs[0].stderr == b""


def test_an_empty_pipe_is_exit_2(models: Path) -> None:
    done = subprocess.run(chat(models), input=b" \n", capture_output=True, check=False)
    assert done.returncode == 2
    assert b"holds no text" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_ctrl_c_stops_the_reply_then_ends_the_program(models: Path) -> None:
    import pty

    parent, child = pty.openpty()
    process = subprocess.Popen(
        chat(models, "--temperature", 2, "--top-p", 1, "--top-k", 0, "--max-tokens", 1900, "--seed", 1),
        stdin=child, stdout=child, stderr=child, start_new_session=True,
    )  # fmt: skip
    os.close(child)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < deadline, seen
            seen += os.read(parent, 4096)
        seen = seen[seen.index(text) + len(text) :]

    until(b"> ")
    os.write(parent, "說故事\n".encode())
    until("說故事\r\n".encode())
    seen += os.read(parent, 1)
    process.send_signal(signal.SIGINT)
    until(b"(stopped)")
    until(b"> ")
    # Python notices a signal that falls between the prompt and the read only after the read: press again, as one would.
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert process.returncode == 130
    os.close(parent)
