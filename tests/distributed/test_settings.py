"""How many workers fit on which machines."""

from __future__ import annotations

import pytest

from moee_topics.distributed import RaySettings
from moee_topics.distributed.settings import CrewSize, crew_size
from moee_topics.errors import InputError

CORES, GPUS = {"CPU": 16.0}, {"CPU": 32.0, "GPU": 8.0}
HEAD = {"memory": 1e9}


@pytest.mark.parametrize(
    ("asked", "machines", "size"),
    [
        (RaySettings(), [CORES], CrewSize(1, 0, 16, 1)),
        (RaySettings(), [CORES, CORES, HEAD], CrewSize(2, 0, 16, 2)),
        (RaySettings(workers=3), [CORES, CORES], CrewSize(3, 0, 8, 4)),
        (RaySettings(cpus=4), [CORES], CrewSize(4, 0, 4, 4)),
        (RaySettings(workers=40), [CORES], CrewSize(40, 0, 1, 16)),
        (RaySettings(), [GPUS, GPUS, HEAD], CrewSize(16, 1, 1, 16)),
        (RaySettings(gpus=0.5), [GPUS], CrewSize(16, 0.5, 1, 16)),
        (RaySettings(gpus=0.1), [{"CPU": 32, "GPU": 1}], CrewSize(10, 0.1, 1, 10)),
        (RaySettings(gpus=0.5, cpus=8), [GPUS], CrewSize(4, 0.5, 8, 4)),
        (RaySettings(gpus=0), [GPUS], CrewSize(1, 0, 32, 1)),
        (RaySettings(workers=4, gpus=1), [CORES], CrewSize(4, 1, 1, 0)),
    ],
)
def test_what_was_not_asked_for_follows_from_the_machines(
    asked: RaySettings, machines: list[dict[str, float]], size: CrewSize
) -> None:
    assert crew_size(asked, machines) == size


@pytest.mark.parametrize("machines", [[], [HEAD], [{"CPU": 1.0}]])
def test_a_cluster_without_room_is_told_with_what_it_has(machines: list[dict[str, float]]) -> None:
    with pytest.raises(InputError, match="No machine of the Ray cluster holds a worker of 2 CPUs"):
        crew_size(RaySettings(cpus=2), machines)


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 0), ("gpus", -1), ("gpus", 1.5), ("gpus", float("inf")), ("cpus", 0), ("cpus", float("nan"))],
)
def test_parts_of_a_machine_that_ray_does_not_give_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"--{name} is"):
        RaySettings(**{name: value})  # type: ignore[arg-type]
