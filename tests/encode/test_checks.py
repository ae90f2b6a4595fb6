"""A check that breaks is a failed check."""

from __future__ import annotations

from moee_topics.encode import Check, guarded


def test_an_error_in_a_check_is_a_failed_check_not_a_crash() -> None:
    def broken() -> Check:
        raise RuntimeError("no kernel image")

    check = guarded(broken)
    assert (check.name, check.ok) == ("broken", False)
    assert "no kernel image" in check.detail
