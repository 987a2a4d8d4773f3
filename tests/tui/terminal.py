"""A real terminal for tests: a tmux of its own, with a shell in it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 30.0
PROMPT = "shell>"


class Terminal:
    """One window. Close it, or use it in a `with`."""

    def __init__(self, socket: Path, width: int = 80, height: int = 24) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        environment = {**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        environment["TUI_DATA_DIR"] = str(socket.parent / "chats")
        for name in ("TMUX", "LINES", "COLUMNS"):  # a test runner's own window is not this one
            environment.pop(name, None)
        size = ["-x", str(width), "-y", str(height)]
        subprocess.run([*self._tmux, "new", "-d", "-s", "t", *size, "sh"], check=True, env=environment, cwd=_ROOT)
        try:
            self.type("PS1=shell'>'")
            self.press("Enter")
            self.wait_for(PROMPT)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._run("kill-server")

    def _run(self, *arguments: str) -> str:
        result = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, check=True)
        return result.stdout

    def start(self, *arguments: str, module: str = "tests.tui.scripted") -> None:
        """Run a Python module in the shell; its exit code will be shown as `rc=N`."""
        command = shlex.join([sys.executable, "-m", module, *arguments])
        self.type(f"{command}; echo rc=$?")
        self.press("Enter")

    def type(self, text: str) -> None:
        """Type text, character by character."""
        self._run("send-keys", "-t", "t", "-l", text)

    def press(self, *keys: str) -> None:
        """Press named keys, as tmux names them."""
        self._run("send-keys", "-t", "t", *keys)

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self._run("resize-window", "-t", "t", "-x", str(width), "-y", str(height))

    def paste(self, text: str, *, bracketed: bool = True) -> None:
        """Paste as a terminal does, in brackets, or as an old one did."""
        subprocess.run([*self._tmux, "load-buffer", "-"], input=text.encode(), check=True)
        self._run("paste-buffer", *(["-p"] if bracketed else []), "-t", "t")

    def screen(self) -> str:
        """What can be seen."""
        return self._run("capture-pane", "-p", "-t", "t")

    def cursor(self) -> tuple[int, int]:
        """Column and row of the cursor."""
        x, y = self._run("display", "-p", "-t", "t", "#{cursor_x} #{cursor_y}").split()
        return int(x), int(y)

    def is_restored(self) -> bool:
        """Whether the terminal is as a program should leave it: no alternate screen, no mouse, a cursor, an echo."""
        modes = self._run("display", "-p", "-t", "t", "#{alternate_on} #{mouse_any_flag} #{cursor_flag}").split()
        return modes == ["0", "0", "1"]

    def child(self) -> int:
        """The process id of the program that runs in the shell."""
        shell = self._run("display", "-p", "-t", "t", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    def wait(self, condition: Callable[[], bool], patience_s: float = _PATIENCE_S) -> None:
        """Wait until something can be seen."""
        until = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < until, self.screen()
            time.sleep(0.03)

    def wait_for(self, text: str, patience_s: float = _PATIENCE_S) -> None:
        """Wait until `text` can be seen."""
        self.wait(lambda: text in self.screen(), patience_s)
