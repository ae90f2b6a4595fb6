"""Which stages are done."""

from __future__ import annotations

from pathlib import Path

from moee_topics.run.ledger import Ledger, StageRecord, fingerprint
from moee_topics.run_folder import RunFolder


def test_a_ledger_knows_only_what_was_finished(tmp_path: Path) -> None:
    ledger = Ledger(RunFolder(tmp_path))
    ledger.finish(StageRecord("fit", fingerprint({"a": 1}), 1.0))
    again = Ledger(RunFolder(tmp_path))
    assert again.done("fit", fingerprint({"a": 1})) is not None
    assert again.done("fit", fingerprint({"a": 2})) is None and again.done("embed", "") is None
    again.begin("fit")
    assert Ledger(RunFolder(tmp_path)).done("fit", fingerprint({"a": 1})) is None


def test_a_fingerprint_sees_values_but_not_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 1})
