"""The quantized copy of a model that a machine keeps, so that many processes on it quantize once."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

from moee_topics import __version__
from moee_topics.encode.models.checkpoint import identity
from moee_topics.encode.models.loading import arithmetic_of, default_dtype, load_config, load_model
from moee_topics.encode.models.quantizer import quantized_as, save_quantized
from moee_topics.encode.quantization.integer_products import is_integer
from moee_topics.encode.settings import EncoderSettings
from moee_topics.store import writing_alone

_PATIENCE_SECONDS = 7200.0  # while another process quantizes a large model


def quantized_copy(settings: EncoderSettings) -> EncoderSettings:
    """Settings that load a model from the copy that this machine keeps; the first process that asks makes it.

    It lies in ``~/.cache/moee-topics``, or below ``XDG_CACHE_HOME``, until somebody deletes it. What is not to be
    quantized, or was saved so, is loaded as it is.

    Raises:
        ModelError: the model is missing, or cannot be quantized.
        ResourceError: there is no room for the copy.
    """
    config = load_config(settings.model, revision=settings.revision)
    kind = arithmetic_of(settings).quantize
    # Integers are laid out for a processor, and not saved.
    if kind == "none" or is_integer(kind) or quantized_as(config) == kind:
        return settings
    dtype = settings.dtype or str(default_dtype(settings.device)).removeprefix("torch.")
    facts = [*identity(settings.model, settings.revision), kind, dtype, __version__]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moee-topics"
    copy = cache / hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()
    if not copy.is_dir():
        with writing_alone(cache, seconds=_PATIENCE_SECONDS):
            if not copy.is_dir():
                model, tokenizer = load_model(replace(settings, quantize=kind))
                save_quantized(model, copy, tokenizer)
    return replace(settings, quantize=kind, model=str(copy), revision=None)
