"""A window that is closed takes its program with it, whatever it was doing."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import sys
import termios
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from textual.drivers import linux_driver

from tui.lost_terminal import LenientWriter, outlive_the_terminal, resume_what_was_suspended

_ROOT = Path(__file__).resolve().parents[2]


class Gone(io.StringIO):
    """A terminal that was closed after its first line."""

    def write(self, text: str) -> int:
        if self.getvalue():
            raise OSError(5, "Input/output error")
        return super().write(text)


def test_who_writes_to_a_terminal_that_is_gone_does_not_wait() -> None:
    writer = LenientWriter(Gone())
    writer.start()

    def write() -> None:
        for number in range(200):  # the queue holds 30
            writer.write(str(number))
        writer.stop()

    talker = threading.Thread(target=write, daemon=True)
    talker.start()
    talker.join(20)
    assert not talker.is_alive()
    assert not writer.is_alive()


@pytest.mark.parametrize(("suspended", "resumed"), [(True, 1), (False, 0)])
def test_a_continued_program_starts_its_threads_again_only_if_it_stopped_them(suspended: bool, resumed: int) -> None:
    driver = SimpleNamespace(_auto_restart=True, _must_signal_resume=suspended, resume_application_mode=Mock())
    resume_what_was_suspended(driver, 18, None)
    assert driver.resume_application_mode.call_count == resumed


def test_the_screens_of_a_process_use_both() -> None:
    outlive_the_terminal()
    assert linux_driver.WriterThread is LenientWriter
    assert linux_driver.LinuxDriver._sigcont_application is resume_what_was_suspended


@pytest.mark.parametrize("wait_s", [0.0, 0.4, 1.5])
def test_a_window_closed_at_any_moment_leaves_no_program_behind(wait_s: float, tmp_path: Path) -> None:
    """The program is the session's leader, as in a window of its own: the kernel sends SIGHUP and then SIGCONT."""
    words = ["--reply", "字", "--repeat", "4000", "--tokens-per-second", "200"]
    child, window = pty.fork()
    if child == 0:
        os.chdir(_ROOT)
        os.environ |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "TUI_DATA_DIR": str(tmp_path)}
        os.execv(sys.executable, [sys.executable, "-m", "tests.tui.scripted", *words])
    fcntl.ioctl(window, termios.TIOCSWINSZ, b"\x18\x00\x50\x00\x00\x00\x00\x00")
    seen = b""
    while b"Ask something" not in seen:
        seen += os.read(window, 65_536)
    os.write(window, b"one\r")
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        os.read(window, 65_536)
    os.close(window)
    deadline = time.monotonic() + 60
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        assert time.monotonic() < deadline, "the program is still there"
        time.sleep(0.05)
