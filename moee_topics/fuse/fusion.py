"""Fusion: from hidden states, routing weights and words to the one vector of a document; no model needed."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import numpy as np
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse.blocks import Blocks, Matrix, OfCorpus, raw_blocks, unit_rows
from moee_topics.fuse.filters import (
    FILTERS,
    FilterName,
    Filters,
    Model,
    check_has_words,
    embedded_words,
    sample_of,
)
from moee_topics.fuse.lexical import DIMENSIONS, Lexical, check_words
from moee_topics.fuse.methods import METHODS, Block, find_method
from moee_topics.fuse.reduction import Reduction
from moee_topics.fuse.routing import PLAIN, RoutingBlock, Usage
from moee_topics.fuse.standardizer import Standardizer
from moee_topics.messages import counted, shortened
from moee_topics.store import write_bytes

Texts = TypeVar("Texts", bound=Iterable[str])
Standardize = Literal["none", "hidden_states", "routing_weights", "both"]


@dataclass(frozen=True)
class Fusion:
    """How the hidden states and routing weights of a document become one vector.

    A value: it is compared, written into recipes and run folders, and passed on as a whole. Where it filters,
    standardizes or weighs words, it must be fitted once; afterwards the vector of a document depends on that document
    alone.

    Attributes:
        method: "hidden_states", "routing_weights", "concat" (both, end to end) or "weighted_sum" (both, of length one,
            end to end by the root of alpha: the paper's sum of similarities as one vector). What tables call them (HS,
            RW, concat, sum) is understood too.
        alpha: weight of the routing weights in a method that weighs; 0 leaves the hidden states alone.
        standardize: the blocks that are brought to mean 0 and deviation 1 by the statistics of a corpus. Recipes may
            say true for "both" and false for "none".
        lexical: weight of the document's words (TF-IDF and a singular value decomposition, see :class:`Lexical`)
            beside the rest; 0 leaves them out. The dot product of two vectors is cos + lexical * cos of their words.
        filters: what is taken out of both blocks before they are standardized, in this order: "center" (the mean),
            "clip" (what lies far out in a dimension), "remove_top" (the strongest directions), "whiten" (that some
            directions weigh more), "align_words" (what sets single words apart from texts), "embed_filter" (of hidden
            states, what writes frequent tokens); see :mod:`moee_topics.fuse.filters`.
        routing: which scores of the routers, and how much each expert and layer counts; see :class:`RoutingBlock`.
        standardizer: the statistics, a :class:`Standardizer`, once :meth:`fit` has learnt them.
        lexicon: words and directions, a :class:`Lexical`, once :meth:`fit` has learnt them.
        filtering: what the filters take out, a :class:`Filters`, once :meth:`fit` has learnt it.
        reduction: principal components, a :class:`Reduction`, of a fusion that :meth:`reduced` gave.

    Raises:
        InputError: an unknown method, block or filter, or a negative weight.
    """

    method: str = "weighted_sum"
    alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    standardize: bool | Standardize = "both"
    lexical: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    filters: tuple[FilterName, ...] = ()
    routing: RoutingBlock = PLAIN
    standardizer: OfCorpus[Standardizer] = field(default=None, init=False, repr=False, compare=False)
    lexicon: OfCorpus[Lexical] = field(default=None, init=False, repr=False, compare=False)
    filtering: OfCorpus[Filters] = field(default=None, init=False, repr=False, compare=False)
    reduction: OfCorpus[Reduction] = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.standardize, bool):
            object.__setattr__(self, "standardize", "both" if self.standardize else "none")
        # What tables call a method is understood too, and never kept: a fusion has one name, and one fingerprint.
        object.__setattr__(self, "method", find_method(str(self.method)))
        if self.standardize not in get_args(Standardize):
            raise InputError(f"standardize is one of {', '.join(get_args(Standardize))}, got {self.standardize!r}.")
        for name, weighed in (("alpha", "the routing weights"), ("lexical", "the words")):
            weight: Any = getattr(self, name)
            is_number = isinstance(weight, Real) and not isinstance(weight, bool)  # to Python True is a number
            if not (is_number and math.isfinite(weight) and weight >= 0):
                raise InputError(f"{name} is the weight of {weighed}, 0 or more; got {weight!r}.")
        if isinstance(self.filters, str):
            raise InputError(f"filters is a list of names, such as filters=[{self.filters}]; got {self.filters!r}.")
        object.__setattr__(self, "filters", tuple(self.filters))  # as a saved fusion and Python callers have lists
        for name in map(str, self.filters):
            if name == "standardize":
                raise InputError("Standardizing has a key of its own: standardize=both, after every filter.")
            if name not in FILTERS:
                raise InputError(f"There is no filter {name!r}; there are {', '.join(FILTERS)}.")

    @property
    def needs_fit(self) -> bool:
        """Whether statistics or words of a corpus are still missing."""
        unstandardized = self.standardize != "none" and self.standardizer is None
        unfiltered = bool(self.filters) and self.filtering is None
        unweighed = self._weighs_routing and self.routing.weights is None
        return unstandardized or unfiltered or unweighed or (self.lexical > 0 and self.lexicon is None)

    @property
    def learns(self) -> bool:
        """Whether its vectors depend on a corpus."""
        return self.standardize != "none" or self.lexical > 0 or bool(self.filters) or self._weighs_routing

    @property
    def _weighs_routing(self) -> bool:
        """Whether a corpus says how much experts and layers count, in a method that reads them."""
        return self.needs_routers and self.routing.learns

    @property
    def needs_routers(self) -> bool:
        """Whether a model without routers cannot give this vector."""
        return "routing_weights" in METHODS[self.method].reads

    @property
    def uses_alpha(self) -> bool:
        """Whether alpha changes the vectors."""
        return METHODS[self.method].uses_alpha

    @property
    def label(self) -> str:
        """A short name for tables, by the paper's names: ``sum 0.5``, ``HS center z +words 1``; z is standardized."""
        return self._named(f" {self.alpha:g}")

    @property
    def label_of_any_alpha(self) -> str:
        """The label with ``auto`` in the place of the number."""
        return self._named(" auto")

    def _named(self, alpha: str) -> str:
        entry, standardized = METHODS[self.method], self._standardized_blocks()
        only = " z(HS)" if standardized == ("hidden_states",) else " z(RW)"
        z = only if 0 < len(standardized) < len(entry.reads) else " z" if standardized else ""
        return (
            entry.short_name
            + (alpha if entry.uses_alpha else "")
            + (self.routing.label if self.needs_routers else "")
            + "".join(f" {name}" for name in self.filters)
            + z
            + (f" +words {self.lexical:g}" * bool(self.lexical))
        )

    def _standardized_blocks(self) -> tuple[Block, ...]:
        """The blocks that the method reads and this fusion standardizes."""
        return tuple(block for block in METHODS[self.method].reads if self.standardize in (block, "both"))

    def canonical(self) -> Fusion:
        """The same vectors, said in one way: what the method does not read is as if it had not been said."""
        alpha = self.alpha if self.uses_alpha else Fusion.alpha
        blocks = self._standardized_blocks()
        standardize: Standardize = "both" if len(blocks) == 2 else blocks[0] if blocks else "none"
        routing = self.routing if self.needs_routers else PLAIN
        plain = Fusion(self.method, alpha, standardize, self.lexical, self.filters, routing)
        return self._learnt(plain, self.standardizer, self.lexicon, self.filtering, self.reduction)

    def fit(
        self,
        blocks: Iterable[Embeddings],
        texts: Iterable[str] | None = None,
        embedder: Model | None = None,
    ) -> Fusion:
        """The same fusion with the statistics of a corpus, learnt from a stream whatever its cut into blocks.

        Args:
            blocks: the embeddings of the corpus.
            texts: its documents, of a fusion that weighs words.
            embedder: the model behind the embeddings, of a fusion with the filters ``align_words`` (which needs the
                texts too) or ``embed_filter``; an :class:`moee_topics.embed.Embedder`.

        Raises:
            InputError: there are no documents, or no texts or words in them, where they are needed; or no embedder.
        """
        if not self.learns:
            return self
        if texts is not None and not isinstance(texts, Sequence):
            texts = list(texts)  # they are read more than once; those of a large corpus stay in their file
        lexicon = Lexical.fit(self._needed(texts)) if self.lexical else None
        filtering: Filters | None = None
        standardizer: Standardizer | None = None
        usage = Usage()
        read = self.routing.watching(blocks, usage)
        of_corpus: Iterable[Embeddings | Blocks] = read
        if self.filters:
            # What follows a filter can be learnt only after it, and a stream is read once.
            needs_words = any(FILTERS[name].needs_words for name in self.filters)
            words = raw_blocks(self.routing.read(embedded_words(texts, embedder))) if needs_words else None
            filtering, filtered = Filters.fit(self.filters, sample_of(read), words, embedder)
            of_corpus = [filtered]
        if self.standardize != "none":
            standardizer = Standardizer.fit(
                of_corpus,
                hidden_states=self.standardize in ("hidden_states", "both"),
                routing_weights=self.standardize in ("routing_weights", "both"),
            )
        elif self._weighs_routing:
            deque(of_corpus, maxlen=0)  # nobody else has read the stream
        routing = self.routing.fitted(usage) if self._weighs_routing else self.routing
        return self._learnt(replace(self, routing=routing), standardizer, lexicon, filtering)

    def check_texts(self, texts: Iterable[str]) -> None:
        """Checks, before hours of encoding, that documents have the words that this fusion weighs or aligns.

        Raises:
            InputError: they have no such words.
        """
        if self.lexical:
            check_words(texts)
        elif any(FILTERS[name].needs_words for name in self.filters):
            check_has_words(texts)

    def reduced(self, reduction: Reduction) -> Fusion:
        """The same fusion, whose vectors are brought to fewer numbers by the principal components of a corpus."""
        return self._learnt(replace(self), self.standardizer, self.lexicon, self.filtering, reduction)

    def with_alpha(self, alpha: float) -> Fusion:
        """The same fusion with another alpha; what it has learnt is kept, except the reduction of other vectors."""
        return self._learnt(replace(self, alpha=alpha), self.standardizer, self.lexicon, self.filtering)

    def fitted_like(self, other: Fusion) -> Fusion:
        """This fusion with what another one has learnt.

        Raises:
            InputError: the other one has not learnt what this one needs.
        """
        if (self.filters or self.standardize != "none") and self.filters != other.filters:
            raise InputError(
                f"{self.label} needs statistics after its own filters, and {other.label} has others. Fit it."
            )
        if self.filters and other.filtering is None:
            raise InputError(f"{self.label} needs filters of a corpus, and {other.label} has not learnt them. Fit it.")
        moments: dict[str, Any] = {}
        for name in ("hidden_states", "routing_weights"):
            # What this fusion leaves as it is stays so, whatever the other one standardizes.
            moments[name] = getattr(other.standardizer, name, None) if self.standardize in (name, "both") else None
            if self.standardize in (name, "both") and moments[name] is None:
                raise InputError(f"{self.label} needs statistics of the {name}, and {other.label} has none. Fit it.")
        if self.lexical and other.lexicon is None:
            raise InputError(f"{self.label} needs the words of a corpus, and {other.label} has none. Fit it.")
        reads_other = self.needs_routers and self.routing != other.routing
        if reads_other and (self.routing.learns or moments["routing_weights"]):
            raise InputError(
                f"The scores of routers of {self.label} need statistics of their own, {other.label} has others. Fit it."
            )
        standardizer = Standardizer(**moments) if any(moments.values()) else None
        filtering = other.filtering if self.filters else None
        fusion = replace(self, routing=other.routing) if self.routing == other.routing else replace(self)
        return self._learnt(fusion, standardizer, other.lexicon if self.lexical else None, filtering)

    def blocks(self, embeddings: Embeddings) -> Blocks:
        """Both blocks as the method is given them, filtered and standardized where this fusion says so.

        Raises:
            InputError: it is not fitted, or the embeddings have other dimensions than those it was fitted on.
        """
        if self.needs_fit:
            raise InputError(
                f"This fusion ({self.label}) has not learnt from a corpus yet. Call fit with the embeddings of a "
                "corpus first, and its texts where it weighs words, or use standardize='none', lexical=0 and no "
                "filters."
            )
        embeddings = self.routing.read(embeddings)
        filtered = None if self.filtering is None else self.filtering.transform(embeddings)
        if self.standardizer is not None:
            hidden, routing = self.standardizer.transform(embeddings if filtered is None else filtered)
        else:
            hidden, routing = raw_blocks(embeddings) if filtered is None else filtered
        return hidden, self.routing.weighed(routing)

    def combine(self, blocks: Blocks) -> Matrix:
        """One vector per document, (N, d) in float32, from blocks that :meth:`blocks` gave.

        Raises:
            InputError: the method reads routing weights, and the model has no routers.
        """
        if self.needs_routers and blocks[1].shape[1] == 0:
            raise InputError(
                f"This model has no routers, so {self.method!r} cannot be made. Use method 'hidden_states'."
            )
        return METHODS[self.method].combine(blocks, self.alpha)

    def dimensions(self, hidden: int, routing: int) -> int:
        """The most numbers of a vector, where documents have D = ``hidden`` and L * E = ``routing`` of them."""
        for name in self.filters:
            hidden = FILTERS[name].width(hidden)
        nothing = np.zeros((1, hidden), np.float32), np.zeros((1, routing), np.float32)
        words = DIMENSIONS if self.lexical else 0
        return int(METHODS[self.method].combine(nothing, self.alpha).shape[1]) + words

    def transform(self, embeddings: Embeddings, texts: Sequence[str] | None = None) -> Matrix:
        """One vector per document, (N, d) in float32.

        Args:
            embeddings: of N documents.
            texts: the documents themselves, of a fusion that weighs words.

        Raises:
            InputError: as :meth:`blocks` and :meth:`combine`; or the texts are missing or others in number.
        """
        vectors = self.combine(self.blocks(embeddings))
        if self.lexicon is not None:
            texts = list(self._needed(texts))
            if len(texts) != len(vectors):
                given = f"{counted(len(vectors), 'embedding')} and {counted(len(texts), 'text')}"
                raise InputError(f"Got {given}; one of each is needed.")
            words = np.float32(math.sqrt(self.lexical)) * self.lexicon.transform(texts)
            # At length one, or the weight would mean another thing for each method and model.
            vectors = np.concatenate([unit_rows(vectors), words], axis=1)
        return vectors if self.reduction is None else self.reduction.transform(vectors)

    def without_words(self, vectors: Matrix) -> Matrix:
        """(N, d) vectors of :meth:`transform` without the words of documents, where these are numbers of their own."""
        if self.lexicon is None or self.reduction is not None:
            return vectors
        return vectors[:, : vectors.shape[1] - len(self.lexicon.components)]

    def _needed(self, texts: Texts | None) -> Texts:
        if texts is None:
            raise InputError(f"This fusion ({self.label}) weighs the words of documents. Give their texts too.")
        return texts

    def save(self, path: Path) -> None:
        """Writes the fusion with its statistics as one safetensors file; equal fusions give equal bytes."""
        settings = {"method": self.method, "alpha": self.alpha, "standardize": self.standardize}
        tensors = {} if self.standardizer is None else self.standardizer.tensors()
        if self.filters:
            settings["filters"] = list(self.filters)
            tensors |= {} if self.filtering is None else self.filtering.tensors()
        if self.routing != PLAIN:
            settings["routing"] = self.routing.settings()
            tensors |= self.routing.tensors()
        if self.lexical:  # without it the bytes are those of version 0.1.0
            settings["lexical"] = self.lexical
            tensors |= {} if self.lexicon is None else self.lexicon.tensors()
        tensors |= {} if self.reduction is None else self.reduction.tensors()
        # One metadata entry only: safetensors writes several in random order.
        write_bytes(path, save(tensors, metadata={"fusion": json.dumps(settings, sort_keys=True)}))

    @classmethod
    def load(cls, path: Path) -> Fusion:
        """Reads what :meth:`save` wrote.

        Raises:
            InputError: the file is missing or something else.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                settings = json.loads(file.metadata()["fusion"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            routing = RoutingBlock.of(settings.pop("routing", {}), tensors)
            fusion = cls(**settings, routing=routing)
            standardizer = Standardizer.of_tensors(tensors) if fusion.standardize != "none" and tensors else None
            filtering = Filters.of_tensors(fusion.filters, tensors)
            lexicon, reduction = Lexical.of_tensors(tensors), Reduction.of_tensors(tensors)
            return cls._learnt(fusion, standardizer, lexicon, filtering, reduction)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} holds no fusion ({error}). Fit the topic model again.") from error

    @staticmethod
    def _learnt(
        fusion: Fusion,
        standardizer: Standardizer | None,
        lexicon: Lexical | None,
        filtering: Filters | None,
        reduction: Reduction | None = None,
    ) -> Fusion:
        # Frozen for everyone else; what is learnt is no argument of the constructor, so that no recipe can name it.
        object.__setattr__(fusion, "standardizer", standardizer)
        object.__setattr__(fusion, "lexicon", lexicon)
        object.__setattr__(fusion, "filtering", filtering)
        object.__setattr__(fusion, "reduction", reduction)
        return fusion


RAW = Fusion(standardize="none")
"""A fusion that needs no corpus first."""


def checked_fusion(fusion: object) -> Fusion:
    """The fusion itself; anything else, such as the name of a method, would fail only once texts are encoded.

    Raises:
        InputError: it is not a fusion.
    """
    if isinstance(fusion, Fusion):
        return fusion
    raise InputError(f"fusion is {shortened(fusion)}, expected a Fusion, such as Fusion('concat', standardize='none').")


def fuse_all(
    blocks: Iterable[Embeddings], fusion: Fusion, documents: int, texts: Sequence[str] | None = None
) -> Matrix:
    """The vectors of a whole corpus, (documents, d) in float32, from a stream of its embeddings.

    Args:
        blocks: the embeddings, in the order of the documents.
        fusion: fitted.
        documents: how many there are.
        texts: the documents themselves, of a fusion that weighs words.

    Raises:
        InputError: there are no documents, or not as many as was said.
    """
    vectors: Matrix | None = None
    row = 0
    for block in blocks:
        part = fusion.transform(block, texts if texts is None else texts[row : row + len(block)])
        if vectors is None:
            # Allocated once: joining the parts at the end would hold everything twice.
            vectors = np.empty((documents, part.shape[1]), dtype=np.float32)
        if row + len(part) <= documents:
            vectors[row : row + len(part)] = part
        row += len(part)
    if vectors is None:
        raise InputError("There are no documents to fuse.")
    if row != documents:  # the rest of the array would be whatever was in memory
        raise InputError(f"Expected the embeddings of {counted(documents, 'document')}, got {row:,}.")
    return vectors
