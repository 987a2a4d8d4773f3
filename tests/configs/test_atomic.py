"""Outputs appear whole or not at all, and what stands is never lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from configs.atomic import output_is_done, staged_file, staged_folder, write_json
from configs.errors import ConfigError


def test_file_appears_when_the_block_ends(tmp_path):
    with staged_file(tmp_path / "new" / "out.txt") as partial:
        partial.write_text("whole")
        assert not (tmp_path / "new" / "out.txt").exists()
    assert (tmp_path / "new" / "out.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failed_file_leaves_what_stood(tmp_path, error):
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises(error), staged_file(tmp_path / "out.txt") as partial:
        partial.write_text("half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() == "old"


def test_folder_replaces_the_old_one_whole(tmp_path):
    old = tmp_path / "out"
    old.mkdir()
    (old / "stale").write_text("stale")
    with staged_folder(old) as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "new").write_text("new")
        assert (old / "stale").exists()
    assert [path.relative_to(old).as_posix() for path in sorted(old.rglob("*"))] == ["deep", "deep/new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_failed_folder_leaves_what_stood(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with pytest.raises(RuntimeError), staged_folder(tmp_path / "out") as partial:
        (partial / "half").write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


def test_kill_leaves_nothing_under_the_final_name(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from configs.atomic import staged_file\n"
        "with staged_file(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half'); print('written', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out.txt")], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"written\n"
    child.kill()
    child.wait()
    assert not (tmp_path / "out.txt").exists()
    assert len(list(tmp_path.iterdir())) == 1
    alive = tmp_path / f".out.txt.{os.getppid()}.partial"
    alive.touch()
    with staged_file(tmp_path / "out.txt") as partial:
        partial.write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out.txt", alive.name])


def test_terminated_command_cleans_up(tmp_path):
    code = (
        "import sys, time, argparse; from pathlib import Path; from configs import errors; from configs.atomic import staged_file\n"
        "def handler(args):\n"
        "    with staged_file(Path(args.path)) as partial:\n"
        "        partial.write_text('half'); print('written', flush=True); time.sleep(60)\n"
        "parser = argparse.ArgumentParser(prog='tool'); parser.add_argument('path'); parser.set_defaults(handler=handler)\n"
        "sys.exit(errors.run(parser))"
    )
    for number, exit_code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "out.txt")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert child.stdout.readline() == b"written\n"
        time.sleep(0.05)
        os.kill(child.pid, number)
        assert child.wait() == exit_code
        assert child.stderr.read().startswith(b"tool: ")
        assert list(tmp_path.iterdir()) == []


def test_rule_for_an_output_that_exists(tmp_path):
    path = tmp_path / "out.json"
    assert not output_is_done(path, recorded=None, wanted="a", overwrite=False)
    write_json(path, {})
    assert output_is_done(path, recorded="a", wanted="a", overwrite=False)
    assert not output_is_done(path, recorded="a", wanted="a", overwrite=True)
    with pytest.raises(ConfigError, match="--overwrite"):
        output_is_done(path, recorded="b", wanted="a", overwrite=False)
    with pytest.raises(ConfigError, match="--overwrite"):
        output_is_done(path, recorded=None, wanted="a", overwrite=False)


def test_folder_with_strangers_is_never_replaced(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    rule = {"recorded": None, "wanted": "a", "own": ("mine.json", "plots/*.png")}
    assert not output_is_done(folder, overwrite=False, **rule)
    (folder / "mine.json").touch()
    (folder / "plots").mkdir()
    (folder / "plots" / "loss.png").touch()
    assert not output_is_done(folder, overwrite=True, **rule)
    with pytest.raises(ConfigError, match="--overwrite"):
        output_is_done(folder, overwrite=False, **rule)
    (folder / "thesis.xlsx").touch()
    for overwrite in (True, False):
        with pytest.raises(ConfigError, match=r"thesis\.xlsx, which this command did not write"):
            output_is_done(folder, overwrite=overwrite, **rule)
