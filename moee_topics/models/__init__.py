"""Mixture-of-experts language models: loading, attention over packs, four bits, and what is supported."""

from __future__ import annotations

from moee_topics.models.families import Family
from moee_topics.models.loading import POCKET, load_model
from moee_topics.models.support import ModelCard, describe, supported_families

__all__ = ["POCKET", "Family", "ModelCard", "describe", "load_model", "supported_families"]
