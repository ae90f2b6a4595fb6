"""Sphinx's marks in docstrings, in the words of Markdown, for the reference of the docs site."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Roles(griffe.Extension):
    """Takes the role from ``:class:`Name```, and one colon from what ends a line before an example."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Changes one docstring, as it is read."""
        if obj.docstring is not None:
            text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", obj.docstring.value)
            obj.docstring.value = re.sub(r"^::$|(?<=:):$", "", text, flags=re.MULTILINE)
