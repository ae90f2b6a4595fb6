"""The stage of a large corpus between the wall and the fit: its vectors by their principal components, on disk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from moee_topics import __version__
from moee_topics.embeddings import Embeddings
from moee_topics.fuse import Fusion, Reduction
from moee_topics.run.ledger import fingerprint
from moee_topics.run.stage import Outcome, Stage
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder
from moee_topics.topics import texts_of


class ReduceStage(Stage):
    """Reads the store shard by shard; in memory are one block of it and the covariance of its vectors."""

    name = "reduce"
    outputs = (RunFolder.vectors, RunFolder.reduction)

    def is_wanted(self, work: Workspace) -> bool:
        """Whether the corpus is large, or the recipe says a number."""
        return work.reduced_dimensions is not None

    def inputs(self, work: Workspace) -> str | None:
        """The corpus, what its embeddings depend on, their fusion, and to how many numbers it is reduced."""
        if work.key_of_blocks is None:
            return None
        fusion = work.recipe.to_json()["fusion"]
        return fingerprint(work.survey.digest, work.key_of_blocks, fusion, work.reduced_dimensions, __version__)

    def run(self, work: Workspace) -> Outcome:
        """Fits the fusion and the components, then writes the vector of every document.

        Raises:
            InputError: the corpus changed since it was encoded, or the fusion weighs words and there are none.
            ResourceError: the disk is full.
        """
        hashes = work.survey.hash_list()
        work.progress.begin(self.name, f"{len(hashes):,} vectors to {work.reduced_dimensions} numbers")
        asked = work.recipe.fusion
        texts = texts_of(work.documents()) if asked.lexical or asked.filters else None

        def passing() -> Iterator[tuple[NDArray[np.int64], Embeddings]]:
            done = 0
            for rows, embeddings in work.embedder.stored_by_shard(hashes):
                yield rows, embeddings
                done += len(rows)
                work.progress.advance(done, len(hashes))

        def vectors(fusion: Fusion) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
            for rows, embeddings in passing():
                yield rows, fusion.transform(embeddings, texts and [texts[row] for row in rows.tolist()])

        blocks = (embeddings for _, embeddings in passing())
        fusion = asked.fit(blocks, texts, work.word_embedder())
        reduction = Reduction.fit((part for _, part in vectors(fusion)), work.reduced_dimensions or 0)
        fusion, shape = fusion.reduced(reduction), (len(hashes), len(reduction.components))
        work.run.write_vectors(shape, vectors(fusion))
        RunFolder.reduction.write(work.run, fusion)
        return Outcome(f"{shape[1]} numbers, {reduction.kept:.0%} of the variance", {"kept": round(reduction.kept, 4)})
