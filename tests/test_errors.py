"""One family of errors, each with the exit code that its class says."""

from __future__ import annotations

import inspect

import pytest

from moee_topics import errors
from moee_topics.errors import MissingExtraError, MoEETopicsError, import_extra

FAMILY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MoEETopicsError)]


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_has_the_exit_code_that_the_tree_of_the_module_says(kind: type[MoEETopicsError]) -> None:
    (line,) = (line for line in (errors.__doc__ or "").splitlines() if f"{kind.__name__} " in line)
    assert str(kind.exit_code) in line.split()


def test_a_package_that_is_not_installed_is_named_with_the_extra_that_brings_it() -> None:
    assert import_extra("json", "none").dumps([]) == "[]"
    with pytest.raises(MissingExtraError, match=r"'no_such_package'.*pip install 'moee-topics\[hub\]'") as error:
        import_extra("no_such_package.inside", "hub")
    assert (error.value.package, error.value.extra) == ("no_such_package", "hub")
