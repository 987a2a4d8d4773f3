"""Starts the training process, shows how it fares, and ends it with us.

With a DeepSpeed configuration the `deepspeed` launcher is started, otherwise one plain process. Either lives in a
process group of its own: the launcher, killed alone, leaves its ranks training. The group holds the reading end of a
pipe of ours as its standard input, so that it ends even when we are killed and cannot tell it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configs.atomic import write_text
from configs.errors import ConfigError, MachineError, ToolError, held_signals
from configs.progress import Progress, show
from trainer import extensions, hosts
from trainer.job import Job
from trainer.memory_advice import memory_advice
from trainer.shared_memory import remove_orphans
from trainer.work import ERROR_FILE, JOB_FILE, LOCK_FILE, LOG_FILE, PROGRESS_FILE, clear_work, has_checkpoints

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
_EXPORTED = (
    "PATH", "OMP_NUM_THREADS", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM", "DS_ACCELERATOR", "GLOO_SOCKET_IFNAME",
    extensions.FOLDER_VARIABLE,
)  # fmt: skip
"""What the processes of other machines need beyond what DeepSpeed exports by itself (PYTHON…, NCCL…)."""
_FULL_BYTES = 1 << 20
_GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(1 << 18), "MALLOC_TRIM_THRESHOLD_": str(1 << 18)}
"""glibc's allocator gives arrays above 256 KiB back when they are freed. Left to itself it keeps them, in pieces that
the next step's arrays do not fit into, and a process holds twice what is in use. New pages cost time, by the width and
not its square as the products do: a third of a step at width 512, little at 4,096."""
_WIDE = 1024
_OF_A_RANK = re.compile(
    r"(LOCAL_|GROUP_|ROLE_|CROSS_)?(RANK|WORLD_SIZE|SIZE)$|MASTER_(ADDR|PORT)$|(TORCHELASTIC|ACCELERATE|PMI|OMPI|MV2)_"
)
"""Variables by which a process knows itself as one of many. Ours is none of theirs: it would wait for them for ever."""
_ERROR_LINE = re.compile(r"[\w.]+(Error|Exception|Interrupt)\b")


def train(job: Job) -> None:
    """Run a job to its end: the adapter folder stands, and the work folder is gone.

    Raises:
        ToolError: training failed; the kind and the sentence are those of the training process.
        ConfigError: another run works on the same output.
    """
    job.work.mkdir(parents=True, exist_ok=True)
    with _locked(job.work):
        clear_work(job.work, keep_checkpoints=job.resume)
        write_text(job.work / JOB_FILE, job.model_dump_json(indent=2))
        remove_orphans()
        try:
            _announce_build(job)
            _run(job)
        except BaseException as error:
            if not has_checkpoints(job.work) and not isinstance(error, _CrashError):
                shutil.rmtree(job.work, ignore_errors=True)
            raise
        shutil.rmtree(job.work, ignore_errors=True)


class _CrashError(ToolError):
    """The training process died without a sentence: its log is kept."""


def _announce_build(job: Job) -> None:
    """Say what will be compiled before the first step, and refuse where that cannot be."""
    needed = []
    if job.deepspeed is not None and not job.gpus:
        needed.append((extensions.SHARED_MEMORY, "its CPU extension", "about a minute"))
    if job.settings.training.optimizer == "cpu_adam":
        needed.append((extensions.CPU_ADAM, "its CPU Adam (training.optimizer=cpu_adam)", "several minutes"))
    for name, what, time_taken in needed:
        if not extensions.is_built(name):
            extensions.check_compiler(environment(job)["PATH"])
            log.info("DeepSpeed builds %s now; this happens once and takes %s", what, time_taken)


def _run(job: Job) -> None:
    env = environment(job)
    if job.hosts:
        hosts.check_programs(env["PATH"])
        hosts.write_environment(job.work / hosts.ENVIRONMENT_FILE, env, _EXPORTED)
        hosts.beat(job.work)
    with (job.work / LOG_FILE).open("wb") as output:
        process = None
        try:
            with held_signals():
                process = subprocess.Popen(
                    command(job),
                    env=env,
                    # DeepSpeed puts its folder on the module path of other machines.
                    cwd=job.work if job.hosts else None,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            show(_events(process, job), "fit")
        finally:
            with held_signals():
                if process is not None:
                    _end_group(process)
                remove_orphans()
    _raise_error(job, process.returncode)


def command(job: Job) -> list[str]:
    """The command line of the training process."""
    job_file = str(job.work / JOB_FILE)
    if job.deepspeed is None:
        return [sys.executable, "-P", "-m", "trainer.fit", job_file]
    if job.hostfile:
        where = hosts.words(job.hosts, job.hostfile)
    else:
        devices = f"localhost:{','.join(map(str, job.gpus))}"
        where = ["--include", devices] if job.gpus else ["--num_gpus", str(job.processes)]
        # A hostfile at DeepSpeed's default place would be read unasked: name one that is not there.
        where += ["--hostfile", str(job.work / "no-hostfile")]
    return [
        sys.executable, "-P", "-m", "deepspeed.launcher.runner", "--master_port", str(_free_port()),
        *where, "--module", "--no_local_rank", "trainer.fit", job_file,
    ]  # fmt: skip


def environment(job: Job) -> dict[str, str]:
    """Environment of the training process: ours, without what a scheduler of jobs says of us as its process, and with
    what keeps it off the network and off our cores' neighbours."""
    env = {name: value for name, value in os.environ.items() if not _OF_A_RANK.match(name)}
    here = max((len(numbers) for _, numbers in job.hosts), default=job.processes)
    env.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // here)))
    # Every input is a local folder by now: nothing is left to ask the hub for.
    env |= {"PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    env[extensions.FOLDER_VARIABLE] = str(extensions.folder())
    env["PATH"] = extensions.scripts_path(env.get("PATH", ""), sysconfig.get_path("scripts"))
    if not job.gpus:
        env["DS_ACCELERATOR"] = "cpu"
        if _width(job.base) >= _WIDE:
            env = _GIVE_BACK | env
    if job.hosts:
        env["DS_ENV_FILE"] = str(job.work / hosts.ENVIRONMENT_FILE)
    return env


def _width(base: Path) -> int:
    """Width of a base model; 0 where its config does not say."""
    try:
        return int(json.loads((base / "config.json").read_text(encoding="utf-8"))["hidden_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Hold the work folder; the lock vanishes with this process."""
    with (work / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another `trainer fit` works in {work}") from error
        yield


def _events(process: subprocess.Popen[bytes], job: Job) -> Iterator[Progress]:
    """Progress events of the training process until it ends; what it says is logged on the way."""
    path, position = job.work / PROGRESS_FILE, 0
    while True:
        if job.hosts:
            hosts.beat(job.work)
        ended = _has_ended(process)
        lines, position = _new_lines(path, position)
        for line in lines:
            event = json.loads(line)
            if "say" in event:
                log.info(event["say"])
            else:
                yield Progress(event["done"], event["total"], "steps", event["note"])
        if ended:
            return


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _new_lines(path: Path, position: int) -> tuple[list[str], int]:
    """Whole lines that were appended after `position`, and the position after them."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            text = file.read()
    except FileNotFoundError:
        return [], position
    whole = text[: text.rfind(b"\n") + 1]
    return whole.decode("utf-8").splitlines(), position + len(whole)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End every process of the group: ask, wait, then kill. SIGINT may be ignored by inheritance; SIGTERM is not."""
    assert process.stdin is not None
    process.stdin.close()
    if not _signal_group(process.pid, signal.SIGTERM):
        process.wait()
        return
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline:
        process.poll()
        if not _signal_group(process.pid, 0):
            return
        time.sleep(0.05)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to all of the group; False where nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _raise_error(job: Job, code: int | None) -> None:
    """Turn the end of the training process into the error it stands for."""
    error = _reported(job.work / ERROR_FILE)
    if error:
        kinds: dict[int, type[ToolError]] = {2: ConfigError, 3: MachineError}
        raise kinds.get(error["exit_code"], ToolError)(error["message"], error["hint"])
    if not code and job.output.is_dir():
        return
    if shutil.disk_usage(job.work).free < _FULL_BYTES:
        raise MachineError(f"the disk of {job.work} is full", hint="free some space and run the same command again")
    killed = code in (-signal.SIGKILL, 256 - signal.SIGKILL, 128 + signal.SIGKILL)
    if killed:
        advice = memory_advice(job.settings, job.settings.deepspeed, on_gpu=False)
        raise _CrashError(
            "the training process was killed, most likely for want of memory",
            hint=f"{advice}; its log is {job.work / LOG_FILE}",
        )
    raise _CrashError(
        f"the training process ended with code {code}: {_last_words(job.work)}",
        hint=f"its log is {job.work / LOG_FILE}",
    )


def _reported(path: Path) -> dict[str, Any] | None:
    try:
        error = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return error if isinstance(error, dict) else None


def _last_words(work: Path) -> str:
    """The last error that the log tells of, else its last line."""
    lines = (work / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.startswith("[")]
    errors = [line for line in said if _ERROR_LINE.match(line)]
    return (errors or said or ["it left no word"])[-1][:300]
