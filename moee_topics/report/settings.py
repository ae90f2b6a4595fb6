"""What a report can be told: the recipe's section ``report``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True)
class ReportSettings:
    """The report file.

    Attributes:
        html: whether a run writes it.
        map_documents: how many documents its map shows at most.
    """

    html: bool = True
    map_documents: Annotated[int, Field(ge=1)] = 20_000
