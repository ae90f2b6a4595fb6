"""Mixture-of-experts language models: loading, attention over packs, four bits, and what is supported."""

from __future__ import annotations

from moee_topics.encode.models.cards import ModelCard, describe, supported_families
from moee_topics.encode.models.families import Family
from moee_topics.encode.models.loading import load_model

__all__ = ["Family", "ModelCard", "describe", "load_model", "supported_families"]
