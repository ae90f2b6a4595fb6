"""Tasks and benchmarks of mteb's registry, by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from moee_topics.errors import InputError
from moee_topics.messages import did_you_mean
from moee_topics.mteb.tasks.cluster_scores import add_cluster_scores
from moee_topics.mteb.tasks.task_source import TaskSource, mteb


def hub_task(name: str) -> TaskSource:
    """A task of mteb's registry; its data comes from the hub, or from the hub's cache on this machine.

    Raises:
        InputError: mteb has no text task of that name.
    """
    registry: Mapping[str, Any] = mteb("get_tasks")._TASKS_REGISTRY
    if name not in registry:
        hint = did_you_mean(name, registry)
        raise InputError(f"mteb has no task {name!r}.{hint} A local file is given with local, not by name.")
    metadata = registry[name].metadata
    if set(metadata.modalities) != {"text"}:
        raise InputError(f"The task {name} is about {', '.join(metadata.modalities)}; only text can be scored.")

    def make() -> Any:
        with warnings.catch_warnings():
            # The paper's tasks are older versions on purpose.
            warnings.simplefilter("ignore")
            task = mteb().get_task(name)
        return add_cluster_scores(task) if metadata.type == "Clustering" else task

    return TaskSource(name, metadata.type, metadata.main_score, make)


def benchmark_tasks(name: str) -> list[TaskSource]:
    """The text tasks of one of mteb's benchmarks, for example ``MTEB(eng, v2)``.

    Raises:
        InputError: mteb has no benchmark of that name.
    """
    benchmarks = mteb()
    try:
        tasks = benchmarks.get_benchmark(name).tasks
    except KeyError as error:
        raise InputError(f"mteb has no benchmark {name!r}; its list is in mteb.get_benchmarks().") from error
    names = [task.metadata.name for task in tasks if task.metadata.modalities == ["text"]]
    return [hub_task(task) for task in names]
