"""Prompts, and texts to tokens: the document is cut to fit, the prompt never is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import Any, Literal, Self

from moee_topics.errors import InputError

FIELD = "{text}"

_ASKED = {
    "style": 'In one word, describe the style of the following sentence - "{text}" :"',
    "sentiment": "In one word, describe the sentiment of the following sentence (positive, neutral, or negative) - "
    '"{text}" :',
    "tone": 'In one word, describe the tone of the following sentence - "{text}" '
    "(e.g., formal, informal, humorous, serious):",
    "intent": "In one word, describe the intent behind the following sentence (e.g., request, suggestion, command) - "
    '"{text}" :',
    "complexity": 'In one word, rate the complexity of the following sentence (simple, moderate, complex) - "{text}" :',
    "subjectivity": 'In one word, describe whether the following sentence is subjective or objective - "{text}" :',
    "language_style": "In one word, describe the language style of the following sentence "
    '(e.g., academic, conversational, literary) - "{text}" :',
    "grammar_structure": "In one word, describe the grammatical structure of the following sentence "
    '(simple, compound, complex) - "{text}" :',
}


@dataclass(frozen=True)
class Prompt:
    """What stands before and after a document.

    Attributes:
        name: the name of a built-in prompt, or "custom".
        prefix: text before the document.
        suffix: text after the document; the last token of a sequence is the last token of the suffix.
    """

    name: str
    prefix: str = ""
    suffix: str = ""

    @property
    def template(self) -> str:
        """The prompt as one string with ``{text}`` where the document goes."""
        return f"{self.prefix}{FIELD}{self.suffix}"

    def wrap(self, text: str) -> str:
        """The document inside the prompt, otherwise unchanged."""
        return f"{self.prefix}{text}{self.suffix}"


def _split(name: str, template: str) -> Prompt:
    prefix, suffix = template.split(FIELD)
    return Prompt(name, prefix, suffix)


PROMPTS = MappingProxyType(
    {
        "none": Prompt("none"),
        "prompteol": _split("prompteol", 'This sentence : "{text}" means in one word:"'),
        **{name: _split(name, template) for name, template in _ASKED.items()},
    }
)
"""``none`` is the bare text. ``prompteol`` and the eight aspects are those of Li & Zhou, "Your Mixture-of-Experts LLM
Is Secretly an Embedding Model For Free" (2024), Table 2, with the quotes of its code; the document stays as it is."""


def get_prompt(name_or_template: str) -> Prompt:
    """Finds a built-in prompt by name, or reads a template that holds ``{text}`` once.

    Raises:
        InputError: neither a known name nor a template with exactly one ``{text}``.
    """
    if name_or_template in PROMPTS:
        return PROMPTS[name_or_template]
    if name_or_template.count(FIELD) != 1:
        raise InputError(
            f"The prompt {name_or_template!r} is neither a known name ({', '.join(PROMPTS)}) nor a template: "
            f"a template holds {FIELD} exactly once."
        )
    return _split("custom", name_or_template)


@dataclass(frozen=True)
class TokenSequence:
    """The tokens of one prompted document, or of one chunk of it.

    Attributes:
        ids: token ids, special tokens and prompt included; never empty.
        document: index of the document among the texts that were given.
        weight: number of tokens that belong to the document, at least one: what a chunk weighs in the mean.
        tokens_lost: document tokens that were cut away.
    """

    ids: tuple[int, ...]
    document: int
    weight: int
    tokens_lost: int = 0


@dataclass(frozen=True)
class TokenCounts:
    """Totals over encoded documents.

    Attributes:
        documents_cut: documents longer than ``max_tokens`` that lost their end.
        tokens: tokens that go through the model, prompts included.
        tokens_lost: document tokens that were cut away.
    """

    documents_cut: int = 0
    tokens: int = 0
    tokens_lost: int = 0

    @classmethod
    def of(cls, sequences: Iterable[TokenSequence], **more: int) -> Self:
        """The totals of some sequences."""
        sizes = [(len(sequence.ids), sequence.tokens_lost) for sequence in sequences]
        lost = [tokens_lost for _, tokens_lost in sizes if tokens_lost]
        return cls(len(lost), sum(tokens for tokens, _ in sizes), sum(lost), **more)

    def __add__(self, other: Self) -> Self:
        return type(self)(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Self) -> Self:
        return type(self)(*(mine - theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


class PromptTokenizer:
    """Turns documents into prompted token sequences of at most ``max_tokens``.

    A prompted document that fits is tokenized in one piece, as a user would do it. One that does not is cut by
    characters, between two of its tokens, and tokenized again: the prompt and the special tokens of the tokenizer are
    always whole.

    Raises:
        InputError: the prompt alone leaves no room for a document.
    """

    # Longest stretch that is looked at in one go; a 10 MB document is walked through in pieces of this many characters.
    stretch = 1 << 17
    # One character can be four byte tokens, and a border on each side can add more.
    smallest_room = 8

    def __init__(self, tokenizer: Any, prompt: Prompt, max_tokens: int) -> None:
        self.tokenizer, self.prompt, self.max_tokens = tokenizer, prompt, max_tokens
        self._ends_with_eos = self._adds_eos()
        alone = self._encode([""])[0]
        self.empty, self.prompt_tokens = alone or self._stand_in(), len(alone)
        if self.prompt_tokens + self.smallest_room > max_tokens:
            raise InputError(
                f"max_tokens={max_tokens} leaves no room for a document: the prompt alone is {len(alone)} tokens, "
                f"and a document needs {self.smallest_room}. Give a larger max_tokens or a shorter prompt."
            )

    def sequences(self, texts: Sequence[str], long_documents: Literal["truncate", "chunk"]) -> list[TokenSequence]:
        """The sequences of all texts, in their order; long texts are cut or taken in pieces."""
        return self.chunk(texts) if long_documents == "chunk" else self.truncate(texts)

    def truncate(self, texts: Sequence[str]) -> list[TokenSequence]:
        """One sequence for each text; the end of a text that is too long is cut away and counted."""
        whole = enumerate(zip(texts, self._whole(texts), strict=True))
        return [self._truncated(i, text, ids) for i, (text, ids) in whole]

    def chunk(self, texts: Sequence[str]) -> list[TokenSequence]:
        """One or more sequences for each text, which together hold all of it, each inside the prompt."""
        found: list[TokenSequence] = []
        for i, (text, ids) in enumerate(zip(texts, self._whole(texts), strict=True)):
            if ids is not None:
                found.append(self._sequence(i, ids))
                continue
            while text:
                ids, end = self._head(text)
                found.append(self._sequence(i, ids))
                text = text[max(end, 1) :]
        return found

    def _truncated(self, document: int, text: str, ids: list[int] | None) -> TokenSequence:
        if ids is not None:
            return self._sequence(document, ids)
        ids, end = self._head(text)
        return self._sequence(document, ids, self._count(text[end:]))

    def _sequence(self, document: int, ids: Sequence[int], lost: int = 0) -> TokenSequence:
        return TokenSequence(tuple(ids), document, max(1, len(ids) - self.prompt_tokens), lost)

    def _whole(self, texts: Sequence[str]) -> list[list[int] | None]:
        """Token ids of each text that fits, None for each that does not."""
        short = [i for i, text in enumerate(texts) if len(text) <= self.stretch]
        whole: list[list[int] | None] = [None] * len(texts)
        for i, ids in zip(short, self._encode([texts[i] for i in short]), strict=True):
            if len(ids) <= self.max_tokens:
                whole[i] = ids or list(self.empty)
        return whole

    def _head(self, text: str) -> tuple[list[int], int]:
        """Tokens of the longest beginning of ``text`` that fits, and how many characters it has."""
        end = min(len(text), self.stretch)
        ids = self._encode([text[:end]])[0]
        while len(ids) > self.max_tokens:
            end = self._shorten(text[:end], len(ids) - self.max_tokens)
            ids = self._encode([text[:end]])[0]
        return ids, end

    def _shorten(self, text: str, excess: int) -> int:
        """Where to cut ``text`` so that about ``excess`` tokens fall away, and at least one character does."""
        if not getattr(self.tokenizer, "is_fast", False):
            return min(len(text) - 1, int(len(text) * (1 - excess / (excess + self.max_tokens))))
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        starts = [start for start, end in found["offset_mapping"] if end > start]
        return int(min(len(text) - 1, starts[-excess])) if excess < len(starts) else len(text) // 2

    def _count(self, text: str) -> int:
        pieces = [text[i : i + self.stretch] for i in range(0, len(text), self.stretch)]
        return sum(map(len, self._ids(pieces, special=False)))

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        found = self._ids([self.prompt.wrap(text) for text in texts], special=True)
        return [ids[:-1] for ids in found] if self._ends_with_eos else found

    def _adds_eos(self) -> bool:
        """Whether the tokenizer closes a text with EOS, which would stand after the prompt."""
        bare, closed = (self._ids(["a"], special)[0] for special in (False, True))
        return bool(closed[-1] == self.tokenizer.eos_token_id != bare[-1])

    def _ids(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        if not texts:
            return []
        found = self.tokenizer(list(texts), add_special_tokens=special, return_attention_mask=False, verbose=False)
        return list(found["input_ids"])

    def _stand_in(self) -> list[int]:
        """What an empty document without a prompt becomes: one token, the first of BOS, EOS and pad that there is."""
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        known = [getattr(self.tokenizer, name, None) for name in names]
        return [next((token for token in known if token is not None), 0)]
