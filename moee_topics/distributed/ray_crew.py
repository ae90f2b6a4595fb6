"""Workers on a Ray cluster, to which groups of documents are dealt out as they come to have room for them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from moee_topics.defaults import OFFLINE_VARIABLES
from moee_topics.distributed.ray_cluster import ray_cluster
from moee_topics.distributed.settings import RaySettings, crew_size
from moee_topics.distributed.worker import Failure, Job, Source, Worker, Written
from moee_topics.embed import Group, Key
from moee_topics.encode import TokenCounts, View
from moee_topics.errors import ResourceError
from moee_topics.messages import first_lines
from moee_topics.progress import LESS_MEMORY, Progress
from moee_topics.store import Shard

# One that is encoded, and one that waits so that no worker does. All that is in memory of the corpus is these.
GROUPS_PER_WORKER = 2
# A group that kills every worker would otherwise do so for ever. One that only waited for a worker that died is counted
# too, so that a single group may have to bear with the deaths of its neighbours.
RETRIES = 5


class RayCrew:
    """Encodes groups of texts in processes of a Ray cluster, which write the shards.

    Ray starts a worker that dies again and repeats what it was at. Begun at the first question; to be used as a context
    manager, at whose end the workers go.

    Args:
        source: of the encoder that each worker loads.
        settings: how many workers of what size.
        progress: is told what a person should know of the cluster.

    Attributes:
        counts: tokens of what was encoded so far.
    """

    def __init__(self, source: Source, settings: RaySettings, progress: Progress | None = None) -> None:
        self.counts = TokenCounts()
        self._source, self._settings, self._progress = source, settings, progress or Progress()
        self._open = ExitStack()
        self._ray: Any = None
        self._workers: list[Any] = []

    def __enter__(self) -> RayCrew:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            self._ray.kill(worker)
        self._workers = []
        self._open.close()

    def key(self) -> Key:
        """What the vectors depend on, by the encoder of the worker that has loaded it first.

        Raises:
            MoEETopicsError: whatever kept it from loading.
        """
        self._start()
        ready, _ = self._ray.wait([worker.key.remote() for worker in self._workers], num_returns=1)
        key: Key = self._result(ready[0])
        return key

    def write(self, root: Path, key: Key, groups: Iterable[Group]) -> Iterator[tuple[int, dict[View, Shard]]]:
        """Gives the documents of each group and its shards, in the order that they come to be finished in.

        At most :data:`GROUPS_PER_WORKER` groups for each worker are asked for ahead of what is finished.

        Raises:
            MoEETopicsError: whatever a worker was stopped by, with the name of its machine.
            ResourceError: a group lost its workers again and again.
        """
        self._start()
        job = self._ray.put(Job.led_here(root, key))
        # Groups go to workers that have the model and see the store; one that a full cluster never starts gets none.
        joining = {worker.join.remote(job): worker for worker in self._workers}
        working: dict[Any, Any] = {}
        places: deque[Any] = deque()
        for group in groups:
            while not places:
                yield from self._finished(joining, working, places)
            worker = places.popleft()
            working[worker.encode.remote(job, group)] = worker
        while working:
            yield from self._finished(joining, working, places)

    def _finished(
        self, joining: dict[Any, Any], working: dict[Any, Any], places: deque[Any]
    ) -> Iterator[tuple[int, dict[View, Shard]]]:
        """Waits for the next worker to be done with something, and notes that it has room."""
        (ready,), _ = self._ray.wait([*joining, *working], num_returns=1)
        if ready in joining:
            self._result(ready)
            worker = joining.pop(ready)
            places.appendleft(worker)  # idle ones are served first
            places.extend([worker] * (GROUPS_PER_WORKER - 1))
            return
        written: Written = self._result(ready)
        worker = working.pop(ready)
        (places.append if worker in working.values() else places.appendleft)(worker)
        self.counts += written.counts
        yield written.documents, written.shards

    def _result(self, reference: Any) -> Any:
        """What a worker gives back; its errors of ours are raised here."""
        try:
            result = self._ray.get(reference)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.OutOfMemoryError) as error:
            self._dead(error)
        if isinstance(result, Failure):
            raise result.error()
        return result

    def _dead(self, error: Exception) -> NoReturn:
        raise ResourceError(
            f"A worker of the Ray cluster could not be kept alive ({first_lines(error)}). It needs this version of "
            "moee-topics on its machine, and memory for the model: ask for fewer workers with --workers, larger ones "
            f"with --cpus or --gpus. {LESS_MEMORY}"
        ) from error

    def _start(self) -> None:
        if self._workers:
            return
        self._ray = ray = self._open.enter_context(ray_cluster())
        size = crew_size(self._settings, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        if size.room < size.workers:
            self._progress.note(
                f"The Ray cluster has room for {size.room} of {size.workers} workers of {size.cpus:g} CPUs and "
                f"{size.gpus:g} GPUs; the others begin when there is."
            )
        kind = ray.remote(Worker).options(
            num_cpus=size.cpus,
            num_gpus=size.gpus,
            max_restarts=-1,
            max_task_retries=RETRIES,
            scheduling_strategy="SPREAD",
        )
        environment = {name: os.environ[name] for name in OFFLINE_VARIABLES if name in os.environ}
        self._workers = [kind.remote(self._source, environment) for _ in range(size.workers)]
