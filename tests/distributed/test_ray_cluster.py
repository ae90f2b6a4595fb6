"""Which cluster is taken, by a double of Ray that notes what it is asked."""

from __future__ import annotations

import os
import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from moee_topics.distributed.ray_cluster import ray_cluster
from moee_topics.errors import InputError, ResourceError


class Ray(SimpleNamespace):
    """Answers at some addresses, and takes the handler of SIGTERM as Ray does; cannot begin a cluster if told so."""

    def __init__(self, *running: str, connected: bool = False, fault: Exception | None = None) -> None:
        exceptions = SimpleNamespace(AuthenticationError=PermissionError)
        super().__init__(running=running, connected=connected, calls=[], exceptions=exceptions, fault=fault)

    def is_initialized(self) -> bool:
        return bool(self.connected)

    def init(self, address: str, **options: Any) -> None:
        self.calls.append((address, options))
        if address in self.running and "closed" in self.running:
            raise PermissionError("no token")
        if address == "local" and self.fault:
            raise self.fault
        if address not in self.running:
            raise ConnectionError("nobody there")
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def shutdown(self) -> None:
        self.calls.append("shutdown")


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


def test_a_cluster_that_is_there_comes_before_one_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for running, addresses in ((("auto", "local"), ["auto"]), (("local",), ["auto", "local"])):
        monkeypatch.setitem(sys.modules, "ray", ray := Ray(*running))  # type: ignore[arg-type]
        with ray_cluster() as found:
            assert found is ray
        *calls, last = ray.calls
        assert [address for address, _ in calls] == addresses and last == "shutdown"
        if addresses[-1] == "local":
            assert calls[-1][1]["include_dashboard"] is False and calls[-1][1]["object_store_memory"] < 1e9


def test_a_connection_of_the_caller_is_used_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ray := Ray(connected=True))  # type: ignore[arg-type]
    with ray_cluster():
        pass
    assert ray.calls == []


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "ray://10.0.0.1:10001"])
def test_a_named_cluster_that_does_not_answer_is_no_reason_to_work_here(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ray := Ray("local"))  # type: ignore[arg-type]
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"RAY_ADDRESS is '{address}'"), ray_cluster():
        pass
    assert "local" not in [call[0] for call in ray.calls]


def test_a_cluster_that_wants_a_token_says_where_to_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", Ray("auto", "closed"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"does not let this process in \(no token\)"), ray_cluster():
        pass


@pytest.mark.parametrize("kind", [Exception, RuntimeError, TimeoutError])
def test_a_machine_too_slow_to_begin_a_cluster_says_what_to_do(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = Ray(fault=kind("\nThe current node timed out during startup.\nThis could happen …"))
    monkeypatch.setitem(sys.modules, "ray", ray)  # type: ignore[arg-type]
    said = r"\(The current node timed out during startup\).*ray start --head"
    with pytest.raises(ResourceError, match=said) as caught, ray_cluster():
        pass
    assert type(caught.value.__cause__) is kind and [call[0] for call in ray.calls] == ["auto", "local"]


def test_a_mistake_of_ours_in_beginning_a_cluster_is_not_taken_for_a_slow_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", Ray(fault=TypeError("no such option")))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no such option"), ray_cluster():
        pass


def test_sigterm_goes_on_ending_a_command_as_ctrl_c_does_and_nothing_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", Ray("auto"))  # type: ignore[arg-type]
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED")
    before = signal.getsignal(signal.SIGTERM)
    with ray_cluster():
        assert signal.getsignal(signal.SIGTERM) == before
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
