"""Files and grammars tried in a child process before this one trusts llama.cpp with them."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from configs.errors import ConfigError, MachineError, ToolError
from runtime.models import ModelPlan

logger = logging.getLogger(__name__)

_SECONDS = 120
_POLL_SECONDS = 0.05
_MOST_GRAMMAR_BYTES = 1 << 20
_MODULE = "runtime.llama_child"
_CHILD_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "GGML_NO_BACKTRACE": "1"}


def try_model(plan: ModelPlan, on_progress: Callable[[float], bool] | None = None) -> None:
    """Load the model and its adapters in a child, and evaluate two tokens.

    That reads the weights once, which the load that follows then finds in memory; where they are larger than the
    memory that is free, only what needs no weights is tried.

    Args:
        on_progress: called with 0 while the child works; returning False gives the load up.

    Raises:
        ToolError: llama.cpp refuses one of the files, or dies of it, or the load was given up.
    """
    paths = [str(plan.options.model.absolute()), *(str(header.path.absolute()) for header, _ in plan.adapters)]
    files = " with ".join([str(plan.options.model), *(str(header.path) for header, _ in plan.adapters)])
    size = plan.header.size_bytes + sum(header.size_bytes for header, _ in plan.adapters)
    seconds = _SECONDS + 20 * (size >> 30)
    reason = _ask(
        ["compute" if size < _free_bytes() else "shapes", *paths],
        b"",
        files,
        seconds,
        lambda: not on_progress or on_progress(0.0),
    )
    if reason:
        raise ToolError(reason if reason.startswith("llama.cpp") else f"llama.cpp cannot load {files}: {reason}")


@lru_cache(maxsize=256)
def try_grammar(grammar: str) -> None:
    """Parse a grammar in a child.

    Raises:
        ConfigError: llama.cpp cannot read it, or dies of it.
    """
    data = grammar.encode("utf-8", "replace")
    if not data.strip() or b"\0" in data or len(data) > _MOST_GRAMMAR_BYTES:
        raise ConfigError("the grammar is empty, too long or no text")
    try:
        reason = _ask(["grammar"], data, "the grammar", _SECONDS)
    except ToolError as error:
        raise ConfigError(error.message) from None
    if reason:
        raise ConfigError(f"llama.cpp cannot read the grammar: {reason}", hint="its rule `root` is the whole reply")


def _ask(
    arguments: Sequence[str], standard_input: bytes, name: str, seconds: int, go_on: Callable[[], bool] = lambda: True
) -> str | None:
    """Run the child; what llama.cpp refused, or None."""
    with tempfile.TemporaryFile() as given:
        given.write(standard_input)
        given.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", _MODULE, *arguments],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": _module_path(), **_CHILD_ENVIRONMENT},
        )
    with child:
        try:
            done = _wait(child, time.monotonic() + seconds, go_on)
        except BaseException:  # Ctrl-C too: nobody waits for it any more
            child.kill()
            raise
    if done is None:
        raise ToolError(f"llama.cpp does not come to an end with {name}", hint="it is damaged or hostile")
    logger.debug("the child on %s: code %s, %s", name, done.returncode, done.stderr[-2000:])
    if done.returncode < 0:
        raise ToolError(
            f"llama.cpp crashed on {name} ({_signal(-done.returncode)} in a child process)",
            hint="it is damaged or hostile",
        )
    try:
        refused: str | None = json.loads(done.stdout.splitlines()[-1])["refused"]
    except (IndexError, ValueError):
        lines = done.stderr.decode("utf-8", "replace").splitlines()
        raise MachineError(
            f"the child process that tries {name} ended with code {done.returncode}: {lines[-1] if lines else ''}"
        ) from None
    return _parser_error(done.stderr) or refused if refused else None


def _wait(
    child: subprocess.Popen[bytes], until: float, go_on: Callable[[], bool]
) -> subprocess.CompletedProcess[bytes] | None:
    """What the child said, or None if its time is over.

    Raises:
        ToolError: `go_on` says no.
    """
    while time.monotonic() < until:
        try:
            out, err = child.communicate(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if not go_on():
                raise ToolError("the load was given up") from None
            continue
        return subprocess.CompletedProcess([], child.returncode, out, err)
    child.kill()
    return None


def _module_path() -> str:
    """Where this process finds its modules, so that the child runs the same code."""
    return os.pathsep.join(path or str(Path.cwd()) for path in sys.path)


def _free_bytes() -> int:
    """Memory that could hold a file; where nobody tells, any file is taken to fit."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return 1 << 62


def _parser_error(stderr: bytes) -> str:
    """What llama.cpp prints instead of logging, where it does."""
    first = stderr.decode("utf-8", "replace").partition("\n")[0]
    return first.rpartition("error parsing grammar: ")[2] if "error parsing grammar" in first else ""


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
