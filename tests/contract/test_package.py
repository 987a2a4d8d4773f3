"""What an installed wheel brings: five import packages, four commands, the data files, the extras."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ROOMS = {"configs", "trainer", "exporter", "runtime", "tui"}


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    hatchling = pytest.importorskip("hatchling.build")
    folder = tmp_path_factory.mktemp("wheel")
    code = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, check=True, capture_output=True)
    assert hatchling
    [wheel] = folder.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_wheel_holds_the_five_packages_alone(wheel_names):
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == ROOMS


def test_wheel_holds_every_data_file(wheel_names):
    tracked = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.suffix in {".toml", ".json", ".tcss", ".py"} and "__pycache__" not in path.parts
    }
    assert tracked <= set(wheel_names)


def test_four_commands():
    assert set(PROJECT["scripts"]) == {"trainer", "exporter", "runtime", "tui"}


def test_extras():
    extras = PROJECT["optional-dependencies"]
    assert {"edge", "convert", "export", "train", "serve", "cluster", "dev"} <= set(extras)
    edge = " ".join(extras["edge"] + extras["sheets"])
    assert not any(name in edge for name in ("torch", "transformers", "peft", "pandas"))


def test_package_doors_stay_empty():
    """Another distribution may own one of these names: an `__init__.py` holds a docstring and nothing else."""
    for room in ROOMS:
        assert len((ROOT / room / "__init__.py").read_text().strip().splitlines()) == 1


def test_no_module_carries_the_name_of_a_dependency():
    names = {
        "deepspeed",
        "gguf",
        "textual",
        "peft",
        "torch",
        "transformers",
        "tokenizers",
        "datasets",
        "safetensors",
        "openpyxl",
    }
    modules = {path.stem for room in ROOMS for path in (ROOT / room).glob("*.py")}
    assert not modules & names


def test_constraints_pin_every_direct_dependency():
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = {
        requirement.split(";")[0].split(">")[0].split("[")[0].strip().lower().replace("_", "-")
        for requirement in PROJECT["dependencies"]
        + [r for extra in PROJECT["optional-dependencies"].values() for r in extra]
    }
    assert not wanted - {"lora2edge"} - pinned
