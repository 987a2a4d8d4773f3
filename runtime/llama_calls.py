"""Functions that other threads have the engine's thread call."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from configs.errors import ToolError
from runtime.llama_context import AbortedError


class Call:
    """A function for the engine's thread, and a place to wait for what it returns.

    Args:
        alone: nothing else may be running, and what was submitted before has ended.
    """

    def __init__(self, function: Callable[[], Any], *, alone: bool = False) -> None:
        self.alone = alone
        self._function = function
        self._future: Future[Any] = Future()

    def run(self) -> None:
        try:
            self._future.set_result(self._function())
        except Exception as error:  # noqa: BLE001  the thread must outlive every failure
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        self._future.set_exception(ToolError("the engine was closed") if isinstance(error, AbortedError) else error)

    def result(self) -> Any:
        while True:
            try:
                return self._future.result(timeout=0.5)  # Ctrl-C cannot interrupt an endless wait on Windows
            except TimeoutError:
                if self._future.done():
                    raise
