"""Trainings by the dozen: a server that imports torch, transformers, peft and deepspeed once, and forks a process a rank.

Everything else is `trainer fit` as it is: its arguments, its checks, its training process, its output. Only the launcher
is replaced, which imports all of that anew for every run.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.trainer.conftest import fit_arguments
from trainer import extensions, launch
from trainer.job import Job
from trainer.work import LOG_FILE, PROGRESS_FILE

# -- the tests' side ----------------------------------------------------------------------------------------------------


class ForkServer:
    """Runs trainings for tests."""

    def __init__(self) -> None:
        env = os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1"}
        env[extensions.FOLDER_VARIABLE] = str(extensions.folder())
        env["PATH"] = extensions.scripts_path(env.get("PATH", ""), str(Path(sys.executable).parent))
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def fit(
        self, base: Path, data: Path, output: Path, *more: object, fault: str = "", **changes: object
    ) -> tuple[int, str, str]:
        """Run a short `trainer fit`: (exit code, stdout, stderr).

        Args:
            more: words of the command line.
            fault: `name` or `name:argument` of a function in `tests.trainer.faults` that every rank calls first.
            changes: settings, with `__` for the dot.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(launch, "_run", lambda job: self._run(job, fault))
            return tiny.run_cli("trainer.cli", *fit_arguments(base, data, output, *more, **changes))

    def _run(self, job: Job, fault: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "work": str(job.work),
            "ranks": job.processes,
            "deepspeed": job.deepspeed is not None,
            "fault": fault,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        codes = json.loads(self._process.stdout.readline())["codes"]
        for line in launch._new_lines(job.work / PROGRESS_FILE, 0)[0]:
            if sentence := json.loads(line).get("say"):
                launch.log.info(sentence)
        launch._raise_error(job, next((code for code in codes if code), 0))

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


# -- the server's side --------------------------------------------------------------------------------------------------


def serve() -> None:
    """Read requests from stdin, answer on stdout."""
    for name in ("torch", "transformers", "peft", "deepspeed", "bitsandbytes", "trainer.finish", "trainer.fit"):
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        port = _free_port()
        children = [_fork(request, rank, port) for rank in range(request["ranks"])]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps({"codes": codes}), flush=True)


def _fork(request: dict[str, Any], rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    work = Path(request["work"])
    log = os.open(work / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # The rank ends when its standard input does: a pipe whose other end this process holds itself.
    os.dup2(os.pipe()[0], 0)
    ranks = request["ranks"]
    if request["deepspeed"]:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
    code = 1
    try:
        from trainer import fit

        if request["fault"]:
            name, _, argument = request["fault"].partition(":")
            getattr(importlib.import_module("tests.trainer.faults"), name)(*filter(None, [argument]))
        code = fit.main([str(work / "job.json")])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    serve()
