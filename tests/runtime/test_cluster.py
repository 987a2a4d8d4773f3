"""One sheet on a Dask cluster of real processes: the bytes of one machine, also when a worker is killed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs.errors import ConfigError, ToolError
from runtime import cluster
from runtime.batch import PredictRun, PredictSettings
from runtime.engine import ModelOptions
from tests import tiny

ROOT = Path(__file__).resolve().parents[2]


class Cluster:
    """A scheduler and its workers, as processes of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.processes = [self._start("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")]

    def add_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        flags = [
            "--nthreads",
            1,
            "--no-nanny",
            "--no-dashboard",
            "--death-timeout",
            60,
            "--local-directory",
            self.folder,
        ]
        self.processes.append(self._start("worker", self.address, *flags, **environment))
        return self.processes[-1]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def _start(self, *words: object, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "dask", *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
        log = (self.folder / f"{words[0]}.log").open("ab")
        return subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=log)


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    yield cluster
    cluster.close()


@pytest.fixture
def settings(models: Path, tmp_path: Path) -> PredictSettings:
    """Questions whose long passages keep the tiny model busy, and two rows that cannot be answered."""
    rows = [
        replace(question, passage="".join(f"{question.passage}{number}" for number in range(12)))
        for question in tiny.questions(200)
    ]
    rows[10] = replace(rows[10], passage="")
    rows[20] = replace(rows[20], passage="長" * 3000)
    sheet = tiny.sheet(tmp_path / "sheet.xlsx", rows)
    model = ModelOptions(models / "model.gguf", threads=1)
    return PredictSettings(sheet, tmp_path / "one.csv", model, columns="full")


def run(settings: PredictSettings) -> PredictRun:
    prediction = PredictRun(settings)
    list(prediction)
    assert prediction.summary is not None
    return prediction


def lines_of(journal: Path) -> int:
    return journal.read_bytes().count(b'"scores"') if journal.exists() else 0


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_changes_no_byte(
    dask: Cluster, settings: PredictSettings, tmp_path: Path
) -> None:
    one = run(settings)
    first = dask.add_worker()
    dask.add_worker()
    journal = tmp_path / "many.csv.journal.jsonl"
    killed_at: list[int] = []

    def kill_in_the_middle() -> None:
        while lines_of(journal) < 30:
            time.sleep(0.005)
        killed_at.append(lines_of(journal))
        first.kill()

    threading.Thread(target=kill_in_the_middle, daemon=True).start()
    many = run(replace(settings, output=tmp_path / "many.csv", scheduler=dask.address))
    assert killed_at
    assert killed_at[0] < 198
    assert first.wait() == -9
    assert (tmp_path / "many.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert many.summary == one.summary
    keys = [json.loads(line)["key"] for line in journal.read_bytes().splitlines() if b'"scores"' in line]
    assert len(keys) == len(set(keys)) == 198
    assert run(replace(settings, output=tmp_path / "many.csv")).summary.already_made


@pytest.mark.slow
def test_a_run_on_a_cluster_goes_on_from_the_journal_and_loads_the_model_once(
    dask: Cluster, settings: PredictSettings, tmp_path: Path
) -> None:
    run(settings)
    lines = (tmp_path / "one.csv.journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "many.csv.journal.jsonl").write_bytes(b"".join(lines[:100]))
    dask.add_worker()
    many = replace(settings, output=tmp_path / "many.csv", scheduler=dask.address)
    prediction = run(many)
    assert prediction.summary.from_journal == sum(b'"scores"' in line for line in lines[:100])
    assert (tmp_path / "many.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    from distributed import Client

    with Client(dask.address, set_as_default=False) as client:
        threads = client.run(lambda: [thread.name for thread in threading.enumerate()])
    assert [names.count("llama") for names in threads.values()] == [1]


@pytest.mark.slow
def test_a_lost_scheduler_is_one_sentence_and_the_next_run_goes_on(
    dask: Cluster, settings: PredictSettings, tmp_path: Path
) -> None:
    dask.add_worker()
    journal = tmp_path / "many.csv.journal.jsonl"
    words = ["predict", settings.sheet, "--model", settings.model.model, "--output", tmp_path / "many.csv"]
    flags = ["--columns", "full", "--scheduler", dask.address]
    command = [sys.executable, "-P", "-m", "runtime.cli", *map(str, [*words, *flags])]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    while lines_of(journal) < 20:
        assert process.poll() is None
        time.sleep(0.005)
    dask.processes[0].kill()
    _, err = process.communicate(timeout=60)
    *_, last = err.decode().strip().splitlines()
    assert process.returncode == 1
    assert f"the connection to {dask.address} was lost" in last
    assert b"Traceback" not in err
    kept = lines_of(journal)
    finished = run(replace(settings, output=tmp_path / "many.csv"))
    assert finished.summary.from_journal >= kept >= 20
    assert lines_of(journal) == 198


@pytest.mark.slow
def test_what_a_worker_lacks_is_one_sentence(
    dask: Cluster, settings: PredictSettings, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = replace(settings, output=tmp_path / "many.csv", scheduler=dask.address)
    monkeypatch.setattr(cluster, "_WORKER_SECONDS", 1)
    with pytest.raises(ToolError, match=r"no worker has joined .*dask worker tcp://"):
        run(far)
    monkeypatch.undo()
    worker = dask.add_worker()
    elsewhere = shutil.copyfile(models / "model.gguf", tmp_path / "mine.gguf")
    real = PredictRun._scorer

    def lose(self: PredictRun, *args: Any) -> Any:
        elsewhere.unlink(missing_ok=True)
        return real(self, *args)

    monkeypatch.setattr(PredictRun, "_scorer", lose)  # a file that the client has and the worker has not
    with pytest.raises(ToolError, match=r"worker tcp://\S+ cannot do this: no file .*mine.gguf"):
        run(replace(far, model=replace(far.model, model=elsewhere)))
    monkeypatch.undo()

    def replace_file(self: PredictRun, *args: Any) -> Any:
        shutil.copyfile(models / "other.gguf", elsewhere)
        return real(self, *args)

    shutil.copyfile(models / "model.gguf", elsewhere)
    monkeypatch.setattr(PredictRun, "_scorer", replace_file)
    with pytest.raises(ToolError, match="is not the same there: another model"):
        run(replace(far, model=replace(far.model, model=elsewhere)))
    monkeypatch.undo()
    worker.kill()
    worker.wait()
    (tmp_path / "old" / "runtime").mkdir(parents=True)
    (tmp_path / "old" / "runtime" / "__init__.py").touch()
    dask.add_worker(PYTHONPATH=str(tmp_path / "old"))
    with pytest.raises(ToolError, match=r"has not the packages of this machine: .*No module named"):
        run(far)
    assert not list(tmp_path.glob("many.csv*"))


@pytest.mark.parametrize(
    ("address", "error", "word"),
    [
        ("10.0.0.1:8786", ConfigError, "is not an address"),
        ("tcp://127.0.0.1:1", ToolError, "no scheduler answers"),
        ("tcp://nowhere.invalid:8786", ToolError, "no scheduler answers"),
        ("tcp://127.0.0.1", ToolError, "no scheduler answers"),
    ],
)
def test_a_scheduler_that_is_not_there(
    settings: PredictSettings, address: str, error: type[ToolError], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_ANSWER_SECONDS", 1)
    with pytest.raises(error, match=word) as caught:
        run(replace(settings, scheduler=address))
    assert type(caught.value) is error
    assert not list(settings.output.parent.glob("one.csv*"))


def test_without_dask_the_extra_is_named(settings: PredictSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolError, match=r"lora2edge\[cluster\]") as caught:
        run(replace(settings, scheduler="tcp://127.0.0.1:1"))
    assert caught.value.exit_code == 3
