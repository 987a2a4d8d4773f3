"""Every way of training on every back end is what plain torch makes of it, or is refused: docs/training.md's table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import tiny
from tests.trainer import matrix
from tests.trainer.conftest import losses
from tests.trainer.fork_server import ForkServer
from tests.trainer.matrix import BACK_ENDS, METHODS, BackEnd, Method

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "training.md"

# One batch of two rows however many processes share it; dropout would draw otherwise in each.
COMMON = {"lora__dropout": 0, "training__group_by_length": "false"}

CELLS = [(method, back_end) for method in METHODS for back_end in BACK_ENDS]
IDS = [f"{method.name} on {back_end.name}" for method, back_end in CELLS]

Run = Callable[[Method, BackEnd], tuple[int, str, Path]]


@pytest.fixture(scope="module")
def tied_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.base(tmp_path_factory.mktemp("model") / "tied-base", tied=True)


@pytest.fixture(scope="module")
def run(
    trainings: ForkServer, tiny_base: Path, tied_base: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Trains a cell once: (exit code, what it said, its output)."""
    folder, done = tmp_path_factory.mktemp("matrix"), {}

    def once(method: Method, back_end: BackEnd) -> tuple[int, str, Path]:
        key = f"{METHODS.index(method)}-{BACK_ENDS.index(back_end)}"
        if key not in done:
            changes = COMMON | {"training__batch_size": 2 // back_end.processes} | method.overrides
            base = tied_base if method.tied else tiny_base
            code, _, err = trainings.fit(base, dataset, folder / key, *back_end.words, **changes)
            done[key] = (code, err, folder / key)
        return done[key]

    return once


def trained(output: Path) -> dict[str, torch.Tensor]:
    """The tensors of an adapter or a model."""
    (path,) = output.glob("*.safetensors")
    return load_file(path)


def length(tensors: list[torch.Tensor]) -> float:
    return float(torch.stack([tensor.double().pow(2).sum() for tensor in tensors]).sum().sqrt())


@pytest.mark.slow
@pytest.mark.timeout(1800)  # one of the cells may have DeepSpeed's CPU Adam to build first
@pytest.mark.xdist_group("trainings")
@pytest.mark.parametrize(("method", "back_end"), CELLS, ids=IDS)
def test_every_cell_is_plain_torch_or_refused(method: Method, back_end: BackEnd, run: Run, tiny_base: Path) -> None:
    code, err, output = run(method, back_end)
    if back_end.name in method.refused:
        assert code == 2, err
        assert method.remedy in err
        assert not output.exists()
        return
    assert code == 0, err
    reference = next(one for one in BACK_ENDS if one.name not in method.refused)
    if method.name == "DeepSpeed's CPU Adam":
        method, reference = METHODS[0], BACK_ENDS[0]
    plain = run(method, reference)[2]
    ours, theirs = trained(output), trained(plain)
    assert ours.keys() == theirs.keys()
    assert {tensor.dtype for tensor in ours.values()} == {torch.float32}
    if method.is_exact:
        assert losses(output) == pytest.approx(losses(plain), abs=matrix.EXACT)
        assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < matrix.EXACT
        return
    # An adapter's B starts at zero: it is the update itself.
    moved = [name for name in ours if "lora_B" in name] or list(ours)
    start = {} if "lora_B" in moved[0] else load_file(tiny_base / "model.safetensors")
    distance = length([ours[name] - theirs[name] for name in moved])
    update = length([theirs[name] - start.get(name, 0) for name in moved])
    print(f"{distance / update:.3f} of the update")
    assert distance < matrix.ROUNDED * update
    assert losses(output) == pytest.approx(losses(plain), abs=0.02)


def test_the_table_in_the_documentation_is_the_tests() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert matrix.written(document) == document, "python -m tests.trainer.matrix docs/training.md"
