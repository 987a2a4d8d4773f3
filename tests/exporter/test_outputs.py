"""What stands under the final name: the whole of it or nothing, and never something else's."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.exporter.conftest import merge
from tests.tiny import run_cli

ROOT = Path(__file__).resolve().parents[2]


SLOW = pytest.mark.slow


def run_child(code: str, arguments: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """Run `exporter merge` in a process of its own, after `code`."""
    script = (
        textwrap.dedent(code) + "\nimport sys\nfrom exporter.cli import main\nraise SystemExit(main(sys.argv[1:]))\n"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", script, "merge", *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def words(base: Path, output: Path, kind: str = "gguf") -> list[object]:
    return ["--base", base, "--format", kind, "--output", output]


DIE_WHILE_WRITING = """
    import os, signal
    from exporter.sinks import output_file
    write, count = output_file.OutputFile.write, [0]
    def dying(self, data):
        count[0] += 1
        if count[0] == {count}:
            os.kill(os.getpid(), signal.{signal})
        write(self, data)
    output_file.OutputFile.write = dying
"""


@pytest.mark.parametrize("kind", ["gguf", pytest.param("huggingface", marks=SLOW)])
def test_sigkill_while_writing_leaves_nothing_under_the_final_name(kind: str, tiny_base: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = run_child(DIE_WHILE_WRITING.format(count=12, signal="SIGKILL"), words(tiny_base, output, kind))
    assert done.returncode == -signal.SIGKILL
    assert not output.exists()
    assert merge(tiny_base, output, format=kind).exists()


@pytest.mark.parametrize(
    ("kind", "name", "code"), [pytest.param("gguf", "SIGINT", 130, marks=SLOW), ("huggingface", "SIGTERM", 143)]
)
def test_interrupted_merge_leaves_nothing_at_all(
    name: str, code: int, kind: str, tiny_base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "place"
    done = run_child(DIE_WHILE_WRITING.format(count=9, signal=name), words(tiny_base, folder / "out", kind))
    assert done.returncode == code, done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["gguf", pytest.param("huggingface", marks=SLOW), pytest.param("pth", marks=SLOW)])
def test_file_size_limit_is_a_full_disk(kind: str, tiny_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "place"
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    done = run_child(limit, words(tiny_base, folder / "out", kind))
    assert done.returncode == 3, done.stderr
    assert "disk is full" in done.stderr
    assert list(folder.iterdir()) == []


def test_disk_that_cannot_claim_space_is_written_all_the_same(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    assert merge(tiny_base, tmp_path / "m.gguf").is_file()


def test_too_small_a_disk_is_seen_before_writing(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.machine.free_bytes", lambda _: 1000)
    code, _, err = run_cli("exporter.cli", "merge", *words(tiny_base, tmp_path / "place" / "m.gguf"))
    assert code == 3
    assert "the disk has 1.00 kB free" in err
    assert not (tmp_path / "place").exists() or not list((tmp_path / "place").iterdir())


@pytest.mark.parametrize("kind", ["gguf", "huggingface"])
def test_same_inputs_are_not_merged_again(kind: str, tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    output = merge(tiny_base, tmp_path / "out", tiny_adapter, format=kind)
    before = output.stat().st_mtime_ns
    code, out, err = run_cli(
        "exporter.cli", "merge", *words(tiny_base, output, kind), "--adapter", tiny_adapter, "--json"
    )
    assert code == 0
    assert "already made from the same inputs" in err
    assert json.loads(out)["already_made"] is True
    assert output.stat().st_mtime_ns == before


@pytest.mark.parametrize("kind", ["gguf", "huggingface"])
def test_other_inputs_need_overwrite(kind: str, tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    output = merge(tiny_base, tmp_path / "out", format=kind)
    again = [*words(tiny_base, output, kind), "--adapter", tiny_adapter]
    code, _, err = run_cli("exporter.cli", "merge", *again)
    assert code == 2
    assert "--overwrite" in err
    assert run_cli("exporter.cli", "merge", *again, "--overwrite")[0] == 0
    assert run_cli("exporter.cli", "merge", *again)[0] == 0
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "out.manifest.json"}


def test_retrained_adapter_of_the_same_shape_counts_as_other_input(tiny_base: Path, tmp_path: Path) -> None:
    from tests import tiny

    adapter = tiny.adapter(tiny_base, tmp_path / "adapter", seed=1)
    output = merge(tiny_base, tmp_path / "out" / "m.gguf", adapter)
    tiny.adapter(tiny_base, adapter, seed=2)
    assert run_cli("exporter.cli", "merge", *words(tiny_base, output), "--adapter", adapter)[0] == 2


def test_file_cut_short_after_the_export_counts_as_not_made(tiny_base: Path, tmp_path: Path) -> None:
    output = merge(tiny_base, tmp_path / "m.gguf")
    output.write_bytes(output.read_bytes()[:-10])
    assert run_cli("exporter.cli", "merge", *words(tiny_base, output))[0] == 2


def test_foreign_folders_and_input_folders_are_never_replaced(tiny_base: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    (home / "manifest.json").write_text('{"name": "a web page"}')
    for output, sentence in (
        (home, "did not write"),
        (tiny_base, "input folder"),
        (tiny_base / "merged", "input folder"),
        (tiny_base.parent, "input folder"),
    ):
        code, _, err = run_cli("exporter.cli", "merge", *words(tiny_base, output, "huggingface"), "--overwrite")
        assert code == 2
        assert sentence in err
    assert (home / "letter.txt").read_text() == "dear"
    code, _, err = run_cli("exporter.cli", "merge", *words(tiny_base, home), "--overwrite")
    assert code == 2
    assert "is a folder" in err
    code, _, err = run_cli(
        "exporter.cli", "merge", *words(tiny_base, home / "letter.txt", "huggingface"), "--overwrite"
    )
    assert code == 2
    assert "is a file" in err


def test_empty_folder_is_filled(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert (merge(tiny_base, tmp_path / "out", format="huggingface") / "config.json").is_file()


@pytest.mark.parametrize("kind", ["gguf", "huggingface"])
def test_manifest_says_what_was_written_and_from_what(
    kind: str, tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    output = merge(tiny_base, tmp_path / "m", tiny_adapter, format=kind)
    table = json.loads(
        (output / "manifest.json" if kind == "huggingface" else tmp_path / "m.manifest.json").read_text()
    )
    folder = output if kind == "huggingface" else tmp_path
    for name, record in table["files"].items():
        data = (folder / name).read_bytes()
        assert record == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    written = {path.name for path in folder.iterdir() if "manifest" not in path.name}
    assert written == set(table["files"])
    assert table["base"]["name"] == tiny_base.name
    assert table["base"]["files"][0]["name"] == "model.safetensors"
    assert table["adapters"][0]["scales"] == [1.5]
    assert len(table["adapters"][0]["files"][0]["header_sha256"]) == 64
    assert str(tmp_path) not in json.dumps(table)


def test_dry_run_prints_the_plan_and_writes_nothing(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    again = [*words(tiny_base, tmp_path / "out" / "m.gguf"), "--adapter", tiny_adapter, "--dry-run"]
    code, out, _ = run_cli("exporter.cli", "merge", *again)
    assert code == 0
    assert "q4_0" in out
    assert "scales 1.5" in out
    code, out, _ = run_cli("exporter.cli", "merge", *again, "--json")
    planned = json.loads(out)
    assert not (tmp_path / "out").exists()
    size = merge(tiny_base, tmp_path / "out" / "m.gguf", tiny_adapter).stat().st_size
    assert planned["bytes"] == size
    assert planned["merged_tensors"] == 14


def test_json_result_names_files_and_sizes(tiny_base: Path, tmp_path: Path) -> None:
    code, out, _ = run_cli("exporter.cli", "merge", *words(tiny_base, tmp_path / "m.gguf"), "--json")
    table = json.loads(out)
    assert code == 0
    assert table["bytes"] == (tmp_path / "m.gguf").stat().st_size
    assert table["seconds"] >= 0


def test_adapter_file_follows_the_same_rules(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    again = ["adapter", "--adapter", tiny_adapter, "--base", tiny_base, "--output", tmp_path / "l.gguf"]
    assert run_cli("exporter.cli", *again)[0] == 0
    assert "already made" in run_cli("exporter.cli", *again)[2]
    code, _, err = run_cli("exporter.cli", *again, "--name", "other")
    assert code == 2
    assert "--overwrite" in err
    assert run_cli("exporter.cli", *again, "--name", "other", "--overwrite")[0] == 0


def test_the_older_scripts_words_work_too(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    new = merge(tiny_base, tmp_path / "new.gguf", tiny_adapter, name="m")
    older = ["merge", "--base_model", tiny_base, "--lora_model", tiny_adapter, "--output_type", "gguf"]
    code, _, err = run_cli("exporter.cli", *older, "--output_dir", tmp_path / "out", "--verbose", "--name", "m")
    assert code == 0, err
    assert "q4_0" in err
    assert (tmp_path / "out" / "ggml-model-q4_0.gguf").read_bytes() == new.read_bytes()


def test_a_file_put_into_our_folder_is_never_lost(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    output = merge(tiny_base, tmp_path / "out", format="huggingface")
    (output / "notes.txt").write_text("mine")
    older = ["merge", "--base", tiny_base, "--adapter", tiny_adapter, "--format", "huggingface", "--output", output]
    code, _, err = run_cli("exporter.cli", *older, "--overwrite")
    assert code == 2
    assert "notes.txt, which this command did not write" in err
    assert (output / "notes.txt").read_text() == "mine"
