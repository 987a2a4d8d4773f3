"""Many machines: the hostfile, the programs it takes, and a run over two of them, both of which are this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from configs.errors import ConfigError
from tests.trainer.conftest import losses, run_fit, start_fit
from tests.trainer.test_fit import group_is_empty, wait_until
from trainer import hosts, launch

# What stands for ssh and pdsh: every "machine" is a shell of its own here. pdsh puts the machine's number for %n.
SSH = "#!/bin/sh\nshift\ncase \"$*\" in *'hostname -I') echo 127.0.0.1;; esac\n"
PDSH = f"""#!{sys.executable}
import subprocess, sys
words = sys.argv[1:]
at = words.index("-w")
command = " ".join(words[at + 2:])
machines = words[at + 1].split(",")
running = [subprocess.Popen(["bash", "-c", command.replace("%n", str(n))], stdin=subprocess.DEVNULL)
           for n, _ in enumerate(machines)]
sys.exit(max(one.wait() for one in running))
"""


def hostfile(folder: Path, text: str = "here-1 slots=1\nhere-2 slots=1\n") -> Path:
    path = folder / "hosts"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hostfile of two machines, which ssh and pdsh reach."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("ssh", SSH), ("pdsh", PDSH)):
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return hostfile(tmp_path)


def test_a_hostfile_is_read(tmp_path: Path) -> None:
    path = hostfile(tmp_path, "# ours\nbig slots=4  # in the cellar\n\nsmall slots=2\n")
    assert hosts.read_hostfile(path, "") == (("big", (0, 1, 2, 3)), ("small", (0, 1)))
    assert hosts.read_hostfile(path, "2") == (("big", (0, 1)), ("small", (0, 1)))
    assert hosts.read_hostfile(path, "1,0") == (("big", (1, 0)), ("small", (1, 0)))
    path.write_text("big slots=4\r\n10.0.0.2 slots=1\r\n", encoding="utf-8-sig")
    assert hosts.read_hostfile(path, "1") == (("big", (0,)), ("10.0.0.2", (0,)))
    path = hostfile(tmp_path, "big slots=4\nsmall slots=2\n")
    assert hosts.words(hosts.read_hostfile(path, "1,0"), path)[-1] == "big:1,0@small:1,0"


@pytest.mark.parametrize(
    ("text", "gpus", "told"),
    [
        ("big\n", "", "line 1: 'big' is no machine"),
        ("big slots=0\n", "", "is no machine"),
        ("big slots=99999999999999999999\n", "", "is no machine"),
        ("me@big slots=2\n", "", "'me@big' is not the bare name .*ssh/config"),
        ("::1 slots=2\n", "", "'::1' is not the bare name"),
        ("-oProxyCommand=x slots=2\n", "", "is not the bare name"),
        ("big slots=2\nbig slots=2\n", "", "line 2: big is named twice"),
        ("# nothing\n", "", "names no machine"),
        ("big slots=4\nsmall slots=2\n", "3", "small has 2 slots"),
        ("big slots=4\n", "0,4", "big has 4 slots"),
        ("big slots=4\n", "all", "expected a count"),
    ],
)
def test_a_wrong_hostfile_names_its_line(text: str, gpus: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        hosts.read_hostfile(hostfile(tmp_path, text), gpus)
    with pytest.raises(ConfigError, match="cannot be read"):
        hosts.read_hostfile(tmp_path / "none", "")


def test_other_machines_are_told_what_they_need_to_find_each_other(tmp_path: Path) -> None:
    env = {"PATH": "/bin", "GLOO_SOCKET_IFNAME": "eth1", "HOME": "/home/me"}
    hosts.write_environment(tmp_path / "env", env, launch._EXPORTED)
    told = (tmp_path / "env").read_text(encoding="utf-8").splitlines()
    assert sorted(told) == ["GLOO_SOCKET_IFNAME=eth1", "PATH=/bin"]


def test_what_it_takes_is_said(tiny_base: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hostfile(tmp_path)
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "a", "--hostfile", path, "--deepspeed", "none")
    assert code == 2
    assert "on many machines (use --deepspeed zero2)" in err
    monkeypatch.setattr("trainer.extensions.is_built", lambda _name: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "a", "--hostfile", path)
    assert code == 3
    assert "--hostfile needs pdsh" in err
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.xdist_group("trainings")
def test_two_machines_train_what_two_processes_do(
    tiny_base: Path, dataset: Path, machines: Path, tmp_path: Path
) -> None:
    common = {"training__batch_size": 1, "lora__dropout": 0}
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "a", "--hostfile", machines, **common)
    assert code == 0, err
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "b", "--gpus", 2, **common)
    assert code == 0, err
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    ours, theirs = (load_file(tmp_path / name / "adapter_model.safetensors") for name in "ab")
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-6


@pytest.mark.slow
@pytest.mark.xdist_group("trainings")
def test_ctrl_c_ends_every_machine(tiny_base: Path, dataset: Path, machines: Path, tmp_path: Path) -> None:
    work = tmp_path / "a.checkpoints"
    process = start_fit(
        tiny_base, dataset, tmp_path / "a", "--hostfile", machines, training__steps=5000, evaluation__every=5000
    )
    wait_until(lambda: (work / "metrics.jsonl").is_file() or process.poll() is not None, 300)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    wait_until(lambda: group_is_empty(str(work)))
    assert not work.exists()


def test_a_process_whose_launcher_is_gone_leaves(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from trainer import hosts\n"
        "hosts.end_without_beat(Path(sys.argv[1]), 1.0); print('here', flush=True); time.sleep(600)"
    )
    hosts.beat(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    for count in range(6):
        (tmp_path / hosts.ALIVE_FILE).write_text(str(count), encoding="ascii")
        time.sleep(0.4)
        assert process.poll() is None
    assert process.wait(60) == 1
