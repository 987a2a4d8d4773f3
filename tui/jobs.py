"""A thread that does jobs one after the other.

It is a daemon thread of its own, not a Textual worker: Textual's pool is joined at exit, so one
long call into llama.cpp would keep the person waiting after Ctrl+Q.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Job = Callable[[], None]


class JobThread:
    """Takes jobs from any thread.

    Args:
        at_end: the last job, done when the thread is closed.
    """

    def __init__(self, name: str, at_end: Job) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._at_end = at_end
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin with the jobs that are there."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Do this after what was asked before."""
        self._jobs.put(job)

    def close(self, timeout_s: float) -> bool:
        """End after the job that is running; say whether the thread was gone within the time."""
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self._at_end()
