"""The order of things: embed, reduce, fit, stability, report; predictions of a finished run. It alone reads recipes."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


class _CallableRoom(ModuleType):
    # ``from moee_topics import run`` is the function, and after an import of any module in here this folder, since
    # Python binds a folder to its name in the package: so calling either does the same, and help tells the same.

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.run(*args, **options)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        return str(self.run.__doc__)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.run)


sys.modules[__name__].__class__ = _CallableRoom
