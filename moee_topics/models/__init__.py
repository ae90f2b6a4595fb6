"""Mixture-of-experts language models: loading, attention over packs, four bits, and what is supported."""

from __future__ import annotations

from moee_topics.models.loading import POCKET, load_model

__all__ = ["POCKET", "load_model"]
