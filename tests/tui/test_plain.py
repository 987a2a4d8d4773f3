"""The chat without a screen."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import ConfigError, ToolError
from runtime.arguments import read_prompt
from runtime.engine import ModelOptions, Sampling
from runtime.scripted import ScriptedEngine
from tests.tui.scripted import loader, models
from tui.chats.store import ChatStore
from tui.launch import can_show_screen, chat
from tui.plain import chat_plainly
from tui.settings import ChatSettings

SETTINGS = ChatSettings(options=ModelOptions(model=Path("m.gguf")), sampling=Sampling())


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def pipe(data: bytes) -> io.TextIOWrapper:
    """What the other end of a pipe has written."""
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")


def plainly(engine: ScriptedEngine, stdin: io.TextIOBase, settings: ChatSettings = SETTINGS) -> tuple[int, str, str]:
    """Hold a plain chat; returns (exit code, stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    code = chat_plainly(settings, loader(engine), stdin, out, err)  # type: ignore[arg-type]
    assert engine.closed
    return code, out.getvalue(), err.getvalue()


def test_a_pipe_is_one_prompt_and_stdout_is_only_the_reply() -> None:
    engine = ScriptedEngine(["答案是 2。\n\x1b[31m"])
    code, out, err = plainly(engine, pipe("\ufeff第一行\n第二行\n".encode()))
    assert (code, out) == (0, "答案是 2。\n␛[31m\n")
    assert "tokens" in err
    assert "\x1b" not in out + err
    assert "第一行\n第二行" in "".join(chr(token) for token in engine.prompts[0] if token < 0x110000)


@pytest.mark.parametrize("data", [b"", b" \n\t\n", "你好".encode("big5")])
def test_a_pipe_without_text_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="standard input"):
        read_prompt(pipe(data))


def test_lines_are_answered_until_the_input_ends() -> None:
    engine = ScriptedEngine(["one", "two", "three"])
    code, out, err = plainly(engine, Terminal("a\n\nb\n/clear\nc\n"))
    assert (code, out) == (0, "one\ntwo\nthree\n")
    assert err.count("> ") == 6
    third = "".join(chr(token) for token in engine.prompts[2] if token < 0x110000)
    assert "two" not in third


def test_quit_ends_the_lines() -> None:
    assert plainly(ScriptedEngine(["one"]), Terminal("/quit\na\n"))[1] == ""


def test_an_error_between_lines_is_told_and_the_chat_goes_on() -> None:
    code, out, err = plainly(ScriptedEngine(["ok"], context_size=200), Terminal("長" * 300 + "\nshort\n"))
    assert (code, out) == (0, "ok\n")
    assert "error: this message takes" in err


def test_ctrl_c_stops_a_typed_reply_but_ends_a_piped_one() -> None:
    class Interrupted(io.StringIO):
        def write(self, text: str) -> int:
            if "b" in text:
                raise KeyboardInterrupt
            return super().write(text)

    for stdin, ends in ((Terminal("x\n/quit\n"), False), (pipe(b"x"), True)):
        out, err = Interrupted(), io.StringIO()
        engine = ScriptedEngine(["a b c"])
        if ends:
            with pytest.raises(KeyboardInterrupt):
                chat_plainly(SETTINGS, loader(engine), stdin, out, err)  # type: ignore[arg-type]
        else:
            assert chat_plainly(SETTINGS, loader(engine), stdin, out, err) == 0  # type: ignore[arg-type]
            assert "stopped" in err.getvalue()
        assert out.getvalue().startswith("a")
        assert engine.closed


def test_an_engine_error_ends_a_pipe() -> None:
    with pytest.raises(ToolError, match="out of breath"):
        plainly(ScriptedEngine(["a b"], error="out of breath"), pipe(b"x"))


@pytest.mark.parametrize("without", [None, 0, 1, 2])
def test_a_screen_needs_three_terminals(without: int | None) -> None:
    streams = tuple(io.StringIO() if at == without else Terminal() for at in range(3))
    assert can_show_screen(streams, {"TERM": "xterm"}) is (without is None)  # type: ignore[arg-type]
    assert can_show_screen(streams, {"TERM": "dumb"}) is False  # type: ignore[arg-type]


def test_a_closed_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ConfigError, match="closed"):
        chat(SETTINGS, models(ScriptedEngine(["x"]), SETTINGS.options))


def test_what_is_typed_is_kept_and_what_is_piped_goes_on_only_when_asked_to(tmp_path: Path) -> None:
    settings = replace(SETTINGS, data_folder=tmp_path)
    plainly(ScriptedEngine(["unkept"]), pipe(b"x"), settings)
    assert not list(tmp_path.iterdir())
    plainly(ScriptedEngine(["first reply"]), Terminal("question one\n"), settings)
    engine = ScriptedEngine(["second reply"])
    plainly(engine, pipe(b"question two"), replace(settings, resume=0))
    seen = "".join(chr(token) for token in engine.prompts[0] if token < 0x110000)
    assert "question one" in seen
    assert "first reply" in seen
    store = ChatStore(tmp_path)
    contents = [message.content for message in store.tree(store.newest() or 0).path()]
    assert contents == ["question one", "first reply", "question two", "second reply"]


def test_a_plain_reply_that_is_interrupted_is_kept_as_far_as_it_came(tmp_path: Path) -> None:
    class Interrupted(io.StringIO):
        def write(self, text: str) -> int:
            if "c" in text:
                raise KeyboardInterrupt
            return super().write(text)

    settings = replace(SETTINGS, data_folder=tmp_path, resume=None)
    chat_plainly(settings, loader(ScriptedEngine(["a b c"])), Terminal("q\n"), Interrupted(), io.StringIO())  # type: ignore[arg-type]
    message = ChatStore(tmp_path).tree(1).path()[-1]
    assert (message.content.split(), message.state) == (["a", "b", "c"], "stopped")


def test_a_chat_that_is_not_there_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no chat 9"):
        plainly(ScriptedEngine(["x"]), pipe(b"x"), replace(SETTINGS, data_folder=tmp_path, resume=9))
