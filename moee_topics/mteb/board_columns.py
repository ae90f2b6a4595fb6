"""The columns of a board: a fusion, the alpha it takes on a task, and the corpus it learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from moee_topics.embed import Embedder
from moee_topics.errors import InputError
from moee_topics.fuse import BatchFusion, Fusion
from moee_topics.mteb.fusion_encoder import AnyFusion
from moee_topics.mteb.score_recipe import AUTO, BATCH_SIZE, ScoreRecipe
from moee_topics.run_folder import Digests
from moee_topics.store import read_json, write_json


@dataclass(frozen=True)
class Statistics:
    """What a fusion learns from: the texts of each task, or the saved fusion of a corpus.

    Attributes:
        name: stands in the folder of a result, since other statistics make other vectors.
        description: the same for a reader.
        saved: the fitted fusion, if it is one.
    """

    name: str = "task"
    description: str = "the different texts of the task, labels unseen"
    saved: Fusion | None = None

    @classmethod
    def load(cls, path: Path) -> Statistics:
        """Those of the fusion in a file.

        Raises:
            InputError: the file is missing or holds no fusion.
        """
        saved = Fusion.load(path)
        # With its content, since results are found again by this name and another fusion may come to lie in the file.
        name = f"{path.stem}-{hashlib.blake2b(path.read_bytes(), digest_size=4).hexdigest()}"
        return cls(name, name, saved)


@dataclass(frozen=True)
class Column:
    """A column of the board.

    Attributes:
        fusion: makes its vectors.
        chooses_alpha: whether alpha is chosen for each task; the fusion's own then does not matter.
        statistics: what the fusion learns from.
        batch_size: texts of a batch, which change a vector of the published code's standardizing.
    """

    fusion: AnyFusion
    chooses_alpha: bool = False
    statistics: Statistics = Statistics()
    batch_size: int = BATCH_SIZE

    @property
    def label(self) -> str:
        """What heads the column."""
        if isinstance(self.fusion, Fusion) and self.chooses_alpha:
            return self.fusion.label_of_any_alpha
        return self.fusion.label

    @property
    def learns(self) -> bool:
        """Whether it needs statistics of more than one batch."""
        return isinstance(self.fusion, Fusion) and self.fusion.learns

    @property
    def statistics_name(self) -> str:
        """Names what it learns from, in the folder of a result."""
        is_batchwise = isinstance(self.fusion, BatchFusion)
        return f"batches-of-{self.batch_size}" if is_batchwise else self.statistics.name

    def with_alpha(self, alpha: float | None) -> AnyFusion:
        """Its fusion on a task for which this alpha was chosen; None where none is chosen."""
        if alpha is None or not isinstance(self.fusion, Fusion):
            return self.fusion
        return self.fusion.with_alpha(alpha)

    def fit(self, fusion: AnyFusion, embedder: Embedder, texts: Sequence[str]) -> AnyFusion:
        """The fusion with its statistics; the texts are those of the task, each once."""
        if not self.learns or not isinstance(fusion, Fusion):
            return fusion
        saved = self.statistics.saved
        if saved:
            return fusion.fitted_like(saved)
        return fusion.fit(embedder.blocks(texts), texts, embedder)


def columns_of(recipe: ScoreRecipe) -> list[Column]:
    """The columns that a recipe asks for.

    Raises:
        InputError: ``score.statistics`` holds no fusion.
    """
    section = recipe.score
    statistics = Statistics.load(section.statistics) if section.statistics else Statistics()
    return [
        Column(
            fusion,
            chooses_alpha=section.alpha == AUTO and isinstance(fusion, Fusion) and fusion.uses_alpha,
            statistics=statistics,
            batch_size=section.batch_size,
        )
        for fusion in recipe.fusions()
    ]


class ChosenAlphas:
    """Alphas that were chosen, by task and vectors, in a file, so that a repeated run chooses nothing.

    Raises:
        InputError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._alphas: dict[str, float] = {}
        if path.is_file():
            mend = "Delete it, and alpha is chosen again."
            if Digests(path.parent).damaged(path):
                raise InputError(f"{path} is damaged (its content is not what was written). {mend}")
            form = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
            self._alphas = read_json(path, kind=form, mend=mend)

    def get(self, key: str) -> float | None:
        """The alpha that was chosen, or None."""
        return self._alphas.get(key)

    def remember(self, key: str, alpha: float) -> None:
        """Writes it down."""
        # At once and not at the end: a run that is cut off chooses no alpha twice.
        self._alphas[key] = alpha
        with Digests(self._path.parent).changing(self._path):
            write_json(self._path, dict(sorted(self._alphas.items())))
