"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Two OpenMP threads on tiny matrices spin more than they work; tests run beside each other instead.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A shell that runs tests in the background has them ignore Ctrl-C, and their children with them: the commands under
# test are started as from a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from tests import tiny

_ALONE = "LORA2EDGE_TEST_ALONE"
_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test marked `own_process` in one: what other tests left in this process would be measured too."""
    if pyfuncitem.get_closest_marker("own_process") is None or os.environ.get(_ALONE):
        return None
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", pyfuncitem.nodeid],
        env={**os.environ, _ALONE: "1"}, cwd=pyfuncitem.config.rootpath, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    return True


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real inputs; tests that need it skip where it is absent."""
    if not _SHARED.is_dir():
        pytest.skip("the real inputs are not here")
    return _SHARED


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers, with its tokenizer and prompt format."""
    return tiny.base(tmp_path_factory.mktemp("model") / "tiny-base")


@pytest.fixture(scope="session")
def tiny_adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter for `tiny_base`."""
    return tiny.adapter(tiny_base, tmp_path_factory.mktemp("adapter") / "tiny-adapter")
