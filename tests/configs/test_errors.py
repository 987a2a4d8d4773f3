"""Every failure is one sentence and the right exit code; progress shows without a terminal too."""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import subprocess
import sys
import time

import pytest

from configs import errors
from configs.errors import ConfigError, MachineError, ToolError
from configs.progress import Progress, show


def parser_of(handler):
    parser = argparse.ArgumentParser(prog="tool")
    errors.common_flags(parser)
    parser.set_defaults(handler=handler)
    return parser


def raising(error):
    def handler(_args):
        raise error

    return handler


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (ToolError("it broke", hint="mend it"), 1, "tool: error: it broke (mend it)\n"),
        (ConfigError("wrong flag"), 2, "tool: error: wrong flag\n"),
        (MachineError("no GPU"), 3, "tool: error: no GPU\n"),
        (KeyboardInterrupt(), 130, "tool: interrupted\n"),
        (
            OSError(errno.ENOSPC, "No space left", "/x"),
            3,
            "tool: error: /x: the disk is full (free some space and run the same command again)\n",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "tool: error: /x: Permission denied\n"),
        (
            OSError(errno.EROFS, "Read-only file system", "/x/.out.csv.12.partial"),
            1,
            "tool: error: /x/out.csv: Read-only file system (choose a place that can be written)\n",
        ),
        (MemoryError(), 3, "tool: error: out of memory\n"),
        (
            ValueError("two\nlines"),
            1,
            "tool: error: unexpected ValueError: two lines (run again with --debug for the traceback)\n",
        ),
    ],
)
def test_failures(error, code, sentence, capsys):
    assert errors.run(parser_of(raising(error)), []) == code
    assert capsys.readouterr().err == sentence


def test_debug_shows_the_traceback():
    with pytest.raises(ToolError):
        errors.run(parser_of(raising(ToolError("it broke"))), ["--debug"])


def test_success_and_own_exit_codes():
    assert errors.run(parser_of(lambda _args: None), []) == 0
    assert errors.run(parser_of(lambda _args: 1), []) == 1


def test_missing_package_names_the_extra():
    with pytest.raises(MachineError, match=r"lora2edge\[edge\]"):
        errors.require("no_such_package_anywhere", "edge")


def test_progress_without_a_terminal_ends_with_the_last_event():
    stream = io.StringIO()
    show((Progress(done, 3, "rows") for done in range(4)), "reading", stream=stream)
    assert stream.getvalue() == "reading: 3/3 rows (100%)\n"


def test_progress_on_a_terminal_redraws_one_line(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    show((Progress(done, 3, "rows", "loss 1.234567890123456789") for done in range(4)), "reading", stream=stream)
    lines = stream.getvalue().rstrip("\n").split("\r\x1b[K")
    assert lines[0] == ""
    assert all(len(line) < 40 for line in lines)
    assert "3/3" in lines[-1] or "100%" in lines[-1]


def test_wrong_words_are_one_sentence_too(capsys):
    parser = errors.Parser(prog="tool")
    command = parser.add_subparsers().add_parser("work")
    command.add_argument("--count", type=int)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["work", "--count", "x"])
    assert (
        capsys.readouterr().err
        == "tool work: error: argument --count: invalid int value: 'x' (tool work --help says more)\n"
    )


def test_interrupt_that_an_import_turned_into_an_error_is_an_interrupt(capsys):
    def handler(_args):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise ImportError("cannot load module more than once per process") from None

    assert errors.run(parser_of(handler), []) == 130
    assert capsys.readouterr().err == "tool: interrupted\n"


def test_interrupt_while_a_command_is_imported_is_an_interrupt(tmp_path):
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "__init__.py").touch()
    (tmp_path / "runtime" / "cli.py").write_text("raise KeyboardInterrupt")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from configs.start import runtime; sys.exit(runtime())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "runtime: interrupted\n")


def test_interrupt_waits_for_an_import_to_end(tmp_path, monkeypatch):
    (tmp_path / "slow_extension.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(0.01)\ndone = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        errors.require("slow_extension", "edge")
    assert sys.modules["slow_extension"].done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_a_block_and_is_answered_then(number, capsys):
    ended = []

    def handler(_args):
        try:
            with errors.held_signals():
                os.kill(os.getpid(), number)
                time.sleep(0.01)
                ended.append("block")
            ended.append("never")
        finally:
            ended.append("outer")

    assert errors.run(parser_of(handler), []) == 128 + number
    assert ended == ["block", "outer"]
    assert capsys.readouterr().err in ("tool: interrupted\n", "tool: terminated\n")
