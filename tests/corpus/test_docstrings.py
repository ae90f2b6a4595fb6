"""Docstrings of installed packages as a corpus."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_files import refused, written

from moee_topics.corpus import docstrings
from moee_topics.corpus.docstrings import first_prose, package_docstrings, thin
from moee_topics.corpus.document import Record


def test_docstrings_are_read_without_importing_the_package() -> None:
    code = (
        "import sys\nfrom moee_topics.corpus import CorpusSettings, open_corpus\n"
        "ds = list(open_corpus(CorpusSettings('docstrings', packages=('jinja2',))))\n"
        "assert len(ds) > 50 and {d.label for d in ds} == {'jinja2'}\n"
        "assert 'jinja2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_docstrings_are_the_prose_of_public_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prose = "Sorts the documents by how far they lie from the centre of the topic they were given by the model."
    source = f'''
class Sorter:
    """{prose}

    It is *stable*, see :class:`~x.Other` and ``key``.

    Parameters
    ----------
    key : str
        Never seen.
    """
    def _hidden(self):
        """{prose} Hidden."""
    def short(self):
        """Too short."""
    def again(self):
        """{prose}

        Args:
            x: never seen.
        """
def other():
    """{prose}"""
'''
    written(tmp_path, "madeup/_impl.py", source)
    written(tmp_path, "madeup/tests/test_x.py", source)
    written(tmp_path, "madeup/broken.py", "def (:")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = [(record.id, record.text) for record in package_docstrings("madeup")]
    assert found == [
        ("madeup._impl.Sorter", f"{prose}\nIt is *stable*, see x.Other and key."),
        ("madeup._impl.Sorter.again", prose),
    ]


def test_reading_few_docstrings_parses_few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    parse = ast.parse
    monkeypatch.setattr(docstrings.ast, "parse", lambda source: parsed.append(source) or parse(source))
    few = package_docstrings.__wrapped__("jinja2", 20)
    few_files = len(parsed)
    every = package_docstrings.__wrapped__("jinja2")
    assert len(few) == 20 and few_files < len(parsed) - few_files
    assert set(few) <= set(every) and few == package_docstrings.__wrapped__("jinja2", 20)


def test_docstring_sections_end_the_prose() -> None:
    for section in (
        "Args:\n    x: no",
        "Returns\n-------\nno",
        ">>> no",
        ":param x: no",
        ".. note:: no",
        "Example::\nno",
    ):
        assert first_prose(f"Yes.\n\n{section}\n\nNever.") == "Yes.", section
    assert first_prose("Returns the value of a thing.\n\nMore.") == "Returns the value of a thing.\nMore."


def test_thinning_keeps_order_and_spreads_evenly() -> None:
    records = [Record(str(i), "t") for i in range(10)]
    assert [record.place for record in thin(records, 4)] == ["0", "2", "5", "7"]
    assert list(thin(records, 0)) == list(thin(records, 99)) == records


def test_a_package_that_is_not_installed_is_refused() -> None:
    for name in ("no_such_package", "torch.no_such", "../etc", ""):
        assert "no installed package" in refused("docstrings", packages=(name,))
