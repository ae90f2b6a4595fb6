"""What all questions to a language model have in common: who is asked, and data behind a fence."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config

from moee_topics.errors import InputError

Provider = Literal["none", "embedding", "local", "openai"]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class AskSettings:
    """Who is asked about topics, and how.

    Attributes:
        provider: "none"; "embedding", the encoder of the run, which answers no prompt; "local", a causal language model
            in hub layout on this machine; or "openai", any endpoint with the chat completions of OpenAI, at
            ``base_url``.
        model: a hub name, a folder or "pocket", by default the model of the run itself; or what the endpoint calls it.
        base_url: of the endpoint; documents leave for nowhere that was not named.
        device: of a local model.
        seconds: that one attempt to ask an endpoint may take.
        attempts: how often an endpoint is asked that is busy, dead or slow.
    """

    provider: Provider
    model: Annotated[str | None, Field(description="Its name [default: the run's own].")] = None
    base_url: Annotated[str | None, Field(description="Of an endpoint, up to /v1.")] = None
    device: Annotated[str | None, Field(description="Of a local model, such as cuda:0.")] = None
    seconds: Annotated[int, Field(ge=1, description="Of one attempt.")] = 60
    attempts: Annotated[int, Field(ge=1, description="Of each question to an endpoint.")] = 4

    def __post_init__(self) -> None:
        """Refuses what belongs to another provider; what a recipe says of nobody waits for one.

        Raises:
            InputError: an endpoint has no address or no model, or another provider has what is of an endpoint.
        """
        if self.provider == "openai" and not (self.model and self.base_url):
            raise InputError(
                "The provider is openai, and it needs a model and a base_url, such as qwen3 and "
                "http://localhost:11434/v1."
            )
        endpoints = ("base_url", "seconds", "attempts")
        of_endpoint = [name for name in endpoints if getattr(self, name) != getattr(AskSettings, name)]
        if self.provider in ("embedding", "local") and of_endpoint:
            raise InputError(
                f"The provider is {self.provider}, and {' and '.join(of_endpoint)} would do nothing: only an endpoint "
                "has that. Give the provider openai with it, or leave it out."
            )
        if self.provider == "openai" and self.device:
            raise InputError("The provider is openai, and device is of a local model: leave it out.")
        if self.provider == "embedding" and self.model:
            raise InputError(
                f"The provider is embedding, which is the run's own encoder, and the model is {self.model!r}: give "
                "the provider local with it, or openai."
            )


def mark_of(inside: Any) -> str:
    """What marks a fence. It is a hash of all that is inside, so that no document can close it."""
    return hashlib.sha256(json.dumps(inside).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def fenced(lines: Sequence[str], mark: str) -> list[str]:
    """Lines of data between two marks, with an empty line before and behind."""
    return ["", f"<data {mark}>", *lines, f"</data {mark}>", ""]


def on_one_line(text: str) -> str:
    """A text without line breaks, in which nothing can look like the next line of a question."""
    return " ".join("".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text).split())
