"""What can be held of the style: a function is read on one screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from house_map import PACKAGE
from house_numbers import body_lines, functions

LONGEST = 35


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_function_is_read_on_one_screen(path: Path) -> None:
    """Of code: without its signature, docstring, comments and empty lines; what is defined inside it counts.

    There is no such rule for short ones: of two lines a name can say more than its body.
    """
    source = path.read_text(encoding="utf-8").splitlines()
    lengths = {function.name: body_lines(function, source) for function in functions(path)}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST}
