"""The section ``labels`` of a recipe: who names the topics of a run after its fit, and who judges the names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, with_config

from moee_topics.topics.label_ballots import CheckSettings
from moee_topics.topics.labels import NamingSettings


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class LabelSection(NamingSettings):
    """Who names the topics after a fit and after every update, and who judges the names; nobody unless told.

    Attributes:
        provider: "none"; "local", a causal language model in hub layout on this machine; or "openai", any endpoint with
            the chat completions of OpenAI, at ``base_url``. Its key comes from the environment variable OPENAI_API_KEY
            alone.
        model: a hub name or a folder, by default the model of the run itself, which needs its language-model head; or
            what the endpoint calls it.
        base_url: of the endpoint, up to /v1.
        device: of a local model, such as cuda:0.
        seconds: that one attempt to ask an endpoint may take.
        attempts: how often an endpoint is asked that is busy, dead or slow.
        documents: so many of those that stand for a topic are shown.
        characters: so many of each are.
        check: who judges whether the names fit, or the words where nobody names: "none", "embedding" (the run's own
            encoder), "local" or "openai", or a section with more.
    """

    provider: Literal["none", "local", "openai"] = "none"
    check: CheckSettings | None = None
