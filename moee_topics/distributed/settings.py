"""How many workers of what size encode on a Ray cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moee_topics.errors import InputError

_ROUNDING = 1e-6  # a third of a GPU three times is a whole one


@dataclass(frozen=True)
class RaySettings:
    """What was asked for; None is decided by the machines that there are.

    Attributes:
        workers: processes that load the model, each one.
        gpus: of one worker; a fraction lets several share a GPU. By default 1 where the cluster has any, else 0.
        cpus: of one worker, which computes in so many threads. By default 1 beside a GPU; without GPUs a worker has
            the cores of a machine, or its part of them where there are more workers than machines.
    """

    workers: int | None = None
    gpus: float | None = None
    cpus: float | None = None

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            InputError: Ray gives no such part of a machine.
        """
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers is {self.workers}, expected 1 or more.")
        for name, least in (("gpus", 0.0), ("cpus", _ROUNDING)):
            value = getattr(self, name)
            if value is not None and (not least <= value < math.inf or (value > 1 and value % 1)):
                raise InputError(f"--{name} is {value}, expected a whole number, or a fraction below 1.")


@dataclass(frozen=True)
class CrewSize:
    """What is started.

    Attributes:
        workers: how many.
        gpus: of each.
        cpus: of each.
        room: how many of them the machines that are there now can hold.
    """

    workers: int
    gpus: float
    cpus: float
    room: int


def crew_size(asked: RaySettings, machines: Sequence[Mapping[str, float]]) -> CrewSize:
    """Decides what was not asked for.

    Args:
        asked: the settings.
        machines: "CPU" and "GPU" of each, as Ray counts them; what is 0 may be left out.

    Raises:
        InputError: no machine holds a worker, and it was not said how many there should be.
    """
    cores = [machine["CPU"] for machine in machines if machine.get("CPU", 0) >= 1]  # a head node often offers none
    gpus = asked.gpus
    if gpus is None:
        gpus = float(any(machine.get("GPU", 0) >= 1 for machine in machines))
    cpus = asked.cpus or 1.0
    if asked.cpus is None and not gpus and cores:
        workers_each = math.ceil((asked.workers or 1) / len(cores))
        cpus = max(1.0, min(cores) // workers_each)
    room = sum(_fitting(machine, gpus, cpus) for machine in machines)
    if not room and asked.workers is None:
        there = ", ".join(f"{machine.get('CPU', 0):g} CPUs and {machine.get('GPU', 0):g} GPUs" for machine in machines)
        raise InputError(
            f"No machine of the Ray cluster holds a worker of {cpus:g} CPUs and {gpus:g} GPUs; there are machines of "
            f"{there or 'nothing'}. Choose smaller ones with --cpus and --gpus, or say with --workers how many there "
            "will be."
        )
    return CrewSize(asked.workers or room, gpus, cpus, room)


def _fitting(machine: Mapping[str, float], gpus: float, cpus: float) -> int:
    by_gpus = machine.get("GPU", 0) / gpus if gpus else math.inf
    return int(min(machine.get("CPU", 0) / cpus, by_gpus) + _ROUNDING)
