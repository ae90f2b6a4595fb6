"""Prompts, and texts to tokens: the document is cut to fit, the prompt never is."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, Self

from moee_topics.errors import InputError

FIELD = "{text}"
CHAT = "chat:"
LongDocuments = Literal["truncate", "chunk"]

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

# Those of Roth et al., "Resource-Efficient Adaptation of Large Language Models for Text Embeddings" (arXiv 2507.22729),
# and its code, beneroth13/llm-text-embeddings, which says "sentence" for every kind of text.
DOMAIN = "{domain}"
_CLUSTERING = {
    "cluster": 'This {domain}: "{text}" belongs to the following cluster:',
    "classification": 'This {domain} : "{text}" can be classified as:',
    "summary": 'This {domain}: "{text}" can be summarized as',
    "category": 'The category of this {domain}: "{text}" in one word is:"',
}


@dataclass(frozen=True)
class Prompt:
    """What stands before and after a document.

    Attributes:
        name: the name of a built-in prompt, or "custom".
        prefix: text before the document.
        suffix: text after the document; the last token of a sequence is the last token of the suffix.
        between: text between two copies of the document, of an echo, whose means are over the second copy alone;
            None where the document stands once.
        chat: whether both are said by a user in the chat template of the model, which then begins its answer.
    """

    name: str
    prefix: str = ""
    suffix: str = ""
    between: str | None = field(default=None, kw_only=True)
    chat: bool = field(default=False, kw_only=True)

    @classmethod
    def of(cls, name: str, template: str) -> Self:
        """The prompt of a template that holds ``{text}`` once, or twice for an echo."""
        prefix, *between, suffix = template.split(FIELD)
        return cls(name, prefix, suffix, between=between[0] if between else None)

    @property
    def template(self) -> str:
        """The prompt as one string with ``{text}`` where the document goes."""
        return f"{CHAT * self.chat}{self.wrap(FIELD)}"

    @property
    def copies(self) -> int:
        """How often the document stands in it."""
        return 1 if self.between is None else 2

    def before(self, text: str) -> str:
        """What stands before the document that is read: of an echo its first copy too."""
        return self.prefix if self.between is None else f"{self.prefix}{text}{self.between}"

    def wrap(self, text: str) -> str:
        """The document inside the prompt, otherwise unchanged."""
        return f"{self.before(text)}{text}{self.suffix}"


PROMPTS = MappingProxyType(
    {
        "none": Prompt("none"),
        "prompteol": Prompt.of("prompteol", 'This sentence : "{text}" means in one word:"'),
        **{name: Prompt.of(name, template) for name, template in _ASKED.items()},
        **{name: Prompt.of(name, template.replace(DOMAIN, "sentence")) for name, template in _CLUSTERING.items()},
        "echo": Prompt.of("echo", "Rewrite the sentence: {text}, rewritten sentence: {text}"),
    }
)
"""``none`` is the bare text. ``prompteol`` and the eight aspects are those of Li & Zhou, "Your Mixture-of-Experts LLM
Is Secretly an Embedding Model For Free" (2024), Table 2, with the quotes of its code; the document stays as it is.
``cluster``, ``classification``, ``summary`` and ``category`` ask for what a topic is, and take the kind of text after a
colon: ``cluster:forum post``. ``echo`` is that of Springer et al., "Repetition Improves Language Model Embeddings"
(arXiv 2402.15449), for models that were not trained by it: in the second copy each token has seen the whole text."""
PAPER_PROMPTS = ("prompteol", *_ASKED)
"""The nine of Table 2."""


def short_name(template: str) -> str:
    """The name of a built-in prompt by its template; of any other the template, in quotes."""
    return next((name for name, prompt in PROMPTS.items() if prompt.template == template), repr(template))


def get_prompt(name_or_template: str) -> Prompt:
    """Finds a built-in prompt by name, or reads a template that holds ``{text}`` once, or twice for an echo.

    Args:
        name_or_template: such as "prompteol", "cluster:forum post" or "Topic of {text}:"; with "chat:" before it, it is
            said in the model's own chat template.

    Raises:
        InputError: neither a known name nor a template with one or two ``{text}``, or a kind of text that is empty.
    """
    if name_or_template.startswith(CHAT):
        return replace(get_prompt(name_or_template.removeprefix(CHAT)), name="custom", chat=True)
    if name_or_template in PROMPTS:
        return PROMPTS[name_or_template]
    name, colon, domain = name_or_template.partition(":")
    if colon and name in _CLUSTERING and FIELD not in domain:
        if not domain.strip():
            raise InputError(
                f"The prompt {name_or_template!r} names no kind of text: such as {name + ':forum post'!r}."
            )
        return Prompt.of("custom", _CLUSTERING[name].replace(DOMAIN, domain.strip()))
    if name_or_template.count(FIELD) not in (1, 2):
        raise InputError(
            f"The prompt {name_or_template!r} is neither a known name ({', '.join(PROMPTS)}) nor a template: "
            f"a template holds {FIELD} once, or twice for an echo, whose second copy is read."
        )
    return Prompt.of("custom", name_or_template)


def in_chat(tokenizer: Any, prompt: Prompt) -> Prompt:
    """A prompt inside the chat template of a tokenizer: what a user says, and how the answer begins.

    Raises:
        InputError: the tokenizer has no such template, or the template changes what is said.
    """
    from jinja2 import TemplateError  # every recipe names a prompt, and reading one should take no time

    if not getattr(tokenizer, "chat_template", None):
        raise InputError(f"The prompt {prompt.template!r} is for a chat, and the model has no chat template.")
    said = [{"role": "user", "content": prompt.wrap(FIELD)}]
    try:
        text = str(tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
    except TemplateError as error:  # some want a system's message first, and say so in this way
        raise InputError(f"The chat template of the model refuses {prompt.template!r}: {error}") from error
    if text.count(FIELD) != prompt.copies:
        raise InputError(
            f"The chat template of the model does not hold {FIELD} as often as {prompt.template!r}: use no chat prompt."
        )
    return Prompt.of(prompt.name, text)


@dataclass(frozen=True)
class TokenSequence:
    """The tokens of one prompted document, or of one chunk of it.

    Attributes:
        ids: token ids, special tokens and prompt included; never empty.
        document: index of the document among the texts that were given.
        weight: number of tokens that belong to the document, at least one: what a chunk weighs in the mean.
        tokens_lost: document tokens that were cut away.
        own: the first and one past the last token of the document's own text; of an echo of its second copy.
        read: the same of what a mean goes over: the whole sequence, or of an echo the second copy.
    """

    ids: tuple[int, ...]
    document: int
    weight: int
    tokens_lost: int
    own: tuple[int, int]
    read: tuple[int, int]


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

    @classmethod
    def together(cls, prompts: Sequence[TokenCounts]) -> TokenCounts:
        """The totals of the same documents in several prompts; one is cut where it is in the longest prompt."""
        cut, tokens, lost = zip(*map(astuple, prompts), strict=True) if prompts else ((0,), (0,), (0,))
        return TokenCounts(max(cut), sum(tokens), max(lost))

    def __add__(self, other: Self) -> Self:
        return type(self)(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Self) -> Self:
        return type(self)(*(mine - theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


# A tokenizer written in Rust refuses a second thread that would change its settings ("Already borrowed").
_TOKENIZING = threading.Lock()


class PromptTokenizer:
    """Turns documents into prompted token sequences of at most ``max_tokens``; any thread may use it.

    A prompted document that fits is tokenized in one piece, as a user would do it. One that does not is cut by
    characters, between two of its tokens, and tokenized again: the prompt and the special tokens of the tokenizer are
    always whole. Both copies of an echo are cut alike.

    Attributes:
        prompt_tokens: tokens of the prompt alone.
        beginning: those that stand before every document, as far as none is merged with it.
        empty: what an empty document becomes; never empty itself.
        stretch: characters that are looked at in one go; a document of 10 MB is walked through in such pieces.

    Raises:
        InputError: the prompt alone leaves no room for a document, or is for a chat and the model has no template.
    """

    # One character can be four byte tokens, and a border on each side can add more.
    smallest_room = 8

    def __init__(self, tokenizer: Any, prompt: Prompt, max_tokens: int) -> None:
        self.prompt = in_chat(tokenizer, prompt) if prompt.chat else prompt
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        # No usual text has as many as 32 characters a token, so whatever fits is looked at as a whole.
        self.stretch = max(1 << 17, 32 * max_tokens)
        # Some tokenizers close a text with EOS, which would stand between the prompt's last token and the vector.
        # A chat template writes its special tokens itself.
        self._special = not prompt.chat
        bare, closed = (self._ids(["a"], special=special)[0] for special in (False, self._special))
        self._ends_with_eos = closed[-1] == tokenizer.eos_token_id != bare[-1]
        self.beginning, self._ending = tuple(self._edge(self.prompt.prefix)), self._edge(self.prompt.suffix)
        prompt_alone = self._prompted([""])[0]
        stand_ins = (getattr(tokenizer, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id"))
        self.empty = prompt_alone or [next((token for token in stand_ins if token is not None), 0)]
        self.prompt_tokens = len(prompt_alone)
        room = self.smallest_room * self.prompt.copies
        if self.prompt_tokens + room > max_tokens:
            raise InputError(
                f"max_tokens={max_tokens} leaves no room for a document: the prompt alone is {self.prompt_tokens} "
                f"tokens, and a document needs {room}. Give a larger max_tokens or a shorter prompt."
            )

    def sequences(self, texts: Sequence[str], long_documents: LongDocuments) -> list[TokenSequence]:
        """The sequences of all texts, in their order; long texts are cut or taken in pieces."""
        return self.chunk(texts) if long_documents == "chunk" else self.truncate(texts)

    def truncate(self, texts: Sequence[str]) -> list[TokenSequence]:
        """One sequence for each text; the end of a text that is too long is cut away and counted."""
        sequences = []
        for i, (text, ids) in enumerate(zip(texts, self._whole(texts), strict=True)):
            lost, end = 0, len(text)
            if ids is None:
                ids, end = self._head(text)
                # What was lost is counted in stretches, as 10 MB are no input for a tokenizer in one piece.
                pieces = [text[at : at + self.stretch] for at in range(end, len(text), self.stretch)]
                lost = sum(map(len, self._ids(pieces, special=False)))
            sequences.append(self._sequence(i, text[:end], ids, lost))
        return sequences

    def chunk(self, texts: Sequence[str]) -> list[TokenSequence]:
        """One or more sequences for each text, which together hold all of it, each inside the prompt."""
        sequences = []
        for i, (text, ids) in enumerate(zip(texts, self._whole(texts), strict=True)):
            if ids is not None:
                sequences.append(self._sequence(i, text, ids))
                continue
            while text:
                ids, end = self._head(text)
                sequences.append(self._sequence(i, text[:end], ids))
                text = text[max(end, 1) :]  # at least one character, or it would never end
        return sequences

    def shared(self, ids: Sequence[int]) -> int:
        """How many of a sequence's first tokens are those of the ``beginning``; never all of the sequence."""
        return min(_in_common(ids, self.beginning), len(ids) - 1)

    def _edge(self, text: str) -> list[int]:
        """Token ids of what stands before a document, or after it."""
        ids = self._ids([text], special=self._special)[0]
        return ids[:-1] if self._ends_with_eos else ids  # which is taken off every sequence

    def _sequence(self, document: int, text: str, ids: Sequence[int], lost: int = 0) -> TokenSequence:
        """The sequence of a text that fits.

        What stands before and after the text's own tokens are those of the prompt and the special ones of the
        tokenizer, as far as they are the same as without the text: one that is merged with it is the text's.
        """
        echoes = self.prompt.between is not None
        first = _in_common(ids, self._edge(self.prompt.before(text)) if echoes else self.beginning)
        own = first, len(ids) - _in_common(ids[first:][::-1], self._ending[::-1])
        read = own if echoes and own[0] < own[1] else (0, len(ids))
        return TokenSequence(tuple(ids), document, max(1, len(ids) - self.prompt_tokens), lost, own, read)

    def _whole(self, texts: Sequence[str]) -> list[list[int] | None]:
        """Token ids of each text that fits, None for each that does not."""
        short = [i for i, text in enumerate(texts) if len(text) <= self.stretch]
        whole: list[list[int] | None] = [None] * len(texts)
        for i, ids in zip(short, self._prompted([texts[i] for i in short]), strict=True):
            if len(ids) <= self.max_tokens:
                whole[i] = ids or list(self.empty)
        return whole

    def _head(self, text: str) -> tuple[list[int], int]:
        """Tokens of a long beginning of ``text`` that fits, cut between two tokens, and how many characters it has."""
        end = min(len(text), self.stretch)
        # A cut text may have other tokens at its new end, and more of them: so it is tokenized until it fits.
        while len(ids := self._prompted([text[:end]])[0]) > self.max_tokens:
            excess = len(ids) - self.max_tokens  # of all copies
            if not getattr(self.tokenizer, "is_fast", False):  # without offsets only the length can be guessed from
                end = min(end - 1, int(end * (1 - excess / (excess + self.max_tokens))))
                continue
            with _TOKENIZING:
                tokens = self.tokenizer(
                    text[:end], add_special_tokens=False, return_offsets_mapping=True, verbose=False
                )
            starts = [start for start, stop in tokens["offset_mapping"] if stop > start]
            excess = -(-excess // self.prompt.copies)
            end = int(min(end - 1, starts[-excess])) if excess < len(starts) else end // 2
        return ids, end

    def _prompted(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text inside the prompt."""
        prompted = self._ids([self.prompt.wrap(text) for text in texts], special=self._special)
        return [ids[:-1] for ids in prompted] if self._ends_with_eos else prompted

    def _ids(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        if not texts:
            return []
        with _TOKENIZING:
            tokens = self.tokenizer(list(texts), add_special_tokens=special, return_attention_mask=False, verbose=False)
        return list(tokens["input_ids"])


def _in_common(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many tokens are the same from the beginning on."""
    pairs = zip(ids, others, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(ids), len(others)))
