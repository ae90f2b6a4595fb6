"""Freed memory goes back to the system where the C library would keep it, and nothing breaks where there is no such."""

from __future__ import annotations

import ctypes

import pytest

from moee_topics.encode.models import memory


def test_where_the_c_library_has_no_such_function_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    memory.give_back()
    memory._trim.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory.give_back()
    memory._trim.cache_clear()
