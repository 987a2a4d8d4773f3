"""One sheet on the workers of a Dask scheduler: buckets go out, results come back into the journal here.

Dask runs the bucket of a worker that was lost on another one. It knows no passwords and runs whatever it is sent:
scheduler and workers belong on a network where everyone is trusted, or behind TLS (`tls://`, Dask's own settings).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from configs.errors import ConfigError, ToolError, require
from runtime.buckets import Bucket
from runtime.debias import RowDebias
from runtime.results import Result
from runtime.worker import Job, Outcome, lack, score_bucket

_ANSWER_SECONDS = 10
_WORKER_SECONDS = 60
"""How long to wait for a worker, at the start and after the last was lost."""
_LOOK_SECONDS = 2
_SENTENCE = 300
_AGAIN = "what is done is in the journal: run this again, and it goes on"


class ClusterScorer:
    """Scores on the workers of a scheduler.

    Raises:
        ConfigError: the address is none of Dask's.
        MachineError: the package is not installed here.
        ToolError: no scheduler answers, no worker has joined, or a worker lacks what the job needs.
    """

    def __init__(self, address: str, job: Job, debias: Mapping[str, RowDebias]) -> None:
        self.too_long: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self._job = job
        self._debias = debias
        self._address = address
        if not address.startswith(("tcp://", "tls://")):
            raise ConfigError(f"--scheduler {address} is not an address", hint="tcp://HOST:PORT")
        self._dask = require("distributed", "cluster")
        _silence()
        try:
            self._client = self._dask.Client(address, timeout=_ANSWER_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ToolError(f"no scheduler answers at {address}", hint="dask scheduler starts one") from error
        try:
            self._wait_for_workers()
            self._check_workers()
        except BaseException:
            self.close()
            raise

    def score(self, buckets: Sequence[Bucket], done: Collection[str]) -> Iterator[tuple[str, Result]]:
        """See `Scorer.score`. Results come bucket by bucket, in the order in which they are ready."""
        futures = [
            self._submit(bucket, [key for key in bucket if key in done])
            for bucket in buckets
            if any(key not in done for key in bucket)
        ]
        try:
            for outcome in self._outcomes(futures):
                self.too_long |= outcome.too_long
                self.failed |= outcome.failed
                yield from ((key, result) for key, result in outcome.results.items() if key not in done)
        finally:
            for future in futures:
                future.release()  # what nobody waits for is not computed

    def _submit(self, bucket: Bucket, done: Collection[str]) -> Any:
        orders = {key: self._debias[key] for key in bucket}
        return self._client.submit(score_bucket, self._job, bucket, orders, done, pure=False)

    def close(self) -> None:
        """Leave the cluster. The workers keep the model, for the next run."""
        self._client.close(timeout=_ANSWER_SECONDS)

    def _outcomes(self, futures: Sequence[Any]) -> Iterator[Outcome]:
        waiting, alone_since = list(futures), time.monotonic()
        while waiting:
            workers, ready, waiting = self._look(waiting)
            if workers:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > _WORKER_SECONDS:
                raise ToolError(f"no worker of {self._address} is left", hint=_AGAIN)
            for future in ready:
                yield self._outcome(future)
                future.release()

    def _look(self, waiting: Sequence[Any]) -> tuple[int, Collection[Any], list[Any]]:
        """(number of workers, futures that are ready now or soon, the others)."""
        with self._connected(), self._client.as_current():
            workers = len(self._client.scheduler_info(n_workers=-1)["workers"])
            try:
                found = self._dask.wait(waiting, timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED")
            except TimeoutError:
                return workers, (), list(waiting)
            return workers, found.done, list(found.not_done)

    def _outcome(self, future: Any) -> Outcome:
        with self._connected():
            try:
                outcome: Outcome = future.result()
            except self._dask.KilledWorker as error:
                raise ToolError(
                    f"{error.allowed_failures + 1} workers were lost at the same bucket of questions",
                    hint="is their memory too small for the model?",
                ) from error
        if outcome.lacks:
            raise ToolError(f"a worker cannot go on: {outcome.lacks}")
        return outcome

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Say what is wrong where Dask raises an exception of its own, or a worker one that it should not."""
        try:
            yield
        except ToolError:
            raise
        except (CancelledError, OSError) as error:
            raise ToolError(f"the connection to {self._address} was lost", hint=_AGAIN) from error
        except Exception as error:
            sentence = " ".join(str(error).split())
            raise ToolError(f"a worker failed: {type(error).__name__}: {sentence[:_SENTENCE]}", hint=_AGAIN) from error

    def _wait_for_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=_WORKER_SECONDS)
        except TimeoutError as error:
            raise ToolError(
                f"no worker has joined {self._address}", hint=f"dask worker {self._address} --nthreads 1 starts one"
            ) from error

    def _check_workers(self) -> None:
        """Ask every worker at once what it lacks."""
        with self._connected():
            answers: dict[str, Any] = self._client.run(lack, self._job, on_error="return")
        for worker, answer in answers.items():
            if "ModuleNotFoundError" in repr(answer):
                raise ToolError(
                    f"worker {worker} has not the packages of this machine: {answer}",
                    hint="pip install 'lora2edge[cluster]' there, of the same version",
                )
            if isinstance(answer, BaseException):
                raise ToolError(f"worker {worker} cannot be asked: {type(answer).__name__}: {answer}")
            if answer:
                raise ToolError(f"worker {worker} cannot do this: {answer}")


def _silence() -> None:
    """Dask logs tracebacks of every connection that ends; what was lost is told by us."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
