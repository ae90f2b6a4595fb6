"""Topic modelling on the hidden states and routing weights of mixture-of-experts language models."""

from __future__ import annotations

__version__ = "0.1.0"
