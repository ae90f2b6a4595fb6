"""The one exception family of moee_topics.

Whatever a user can cause and mend is raised as one of these; anything else that escapes is our bug. The command line
prints the message and leaves with the class's exit code::

    MoEETopicsError            1
    ├── RecipeError            3   a recipe or an override that is not valid
    ├── InputError             4   a corpus, a file or an argument that is missing or cannot be used
    │   └── NoTopicsError      4   a fit that leaves every document an outlier
    ├── ModelError             4   a model that is missing, unsupported or did not quantize
    │   └── KernelError        4   arithmetic that this machine does not have
    ├── StoreError             4   an embedding store that is damaged, locked or holds something else
    ├── MissingExtraError      4   an optional package that is not installed
    ├── ResourceError          5   not enough memory or disk
    └── Interrupted            6   stopped by the user; finished work is kept and the run can be resumed

A message says what was given, what was expected and what to do.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class MoEETopicsError(Exception):
    """Base of every error that moee_topics raises on purpose."""

    exit_code = 1


class RecipeError(MoEETopicsError):
    """A recipe, or an override of one, is not valid."""

    exit_code = 3


class InputError(MoEETopicsError):
    """A corpus, a file or an argument is missing or cannot be used."""

    exit_code = 4


class NoTopicsError(InputError):
    """A fit found no topic: every document is an outlier."""


class ModelError(MoEETopicsError):
    """A model is missing, is not supported, or was not quantized as asked."""

    exit_code = 4


class KernelError(ModelError):
    """A model is to be multiplied in a way that this machine does not have."""


class StoreError(MoEETopicsError):
    """An embedding store is damaged, locked by another writer, or holds something else."""

    exit_code = 4


class MissingExtraError(MoEETopicsError):
    """An optional package is needed and not installed."""

    exit_code = 4

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"This needs the package {package!r}, which is not installed. "
            f"Install it with: pip install 'moee-topics[{extra}]'"
        )
        self.package = package
        self.extra = extra


class ResourceError(MoEETopicsError):
    """The machine has not enough memory or disk for what was asked."""

    exit_code = 5


class Interrupted(MoEETopicsError):
    """The user stopped the run; finished work is kept and it can be resumed."""

    exit_code = 6


def import_extra(package: str, extra: str) -> ModuleType:
    """Imports a module of an optional package.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingExtraError(package.partition(".")[0], extra) from error
