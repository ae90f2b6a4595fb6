"""The very encoder that a run was made with, for texts that come later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moee_topics.encode import AUTO, EncoderSettings, EncoderSource, arithmetic_of_key
from moee_topics.errors import KernelError, ModelError

if TYPE_CHECKING:
    from moee_topics.run_folder.folder import RunFolder


def load_fitted_encoder(run: RunFolder, device: str | None = None) -> EncoderSource:
    """The encoder of a run, not loaded yet, once its files are known to be the same.

    Raises:
        InputError: a file of the run is missing or damaged.
        ModelError: the model is gone, or is not the one the run was encoded with.
        KernelError: this machine does not multiply as the one did where the run was encoded.
    """
    settings = fitted_encoder(run, device)
    encoder = EncoderSource(settings, require_routers=run.fusion.needs_routers)
    try:
        now = encoder.key()
    except KernelError as error:  # what it has instead would give vectors that the run cannot be compared with
        raise KernelError(
            f"The run {run.path} was encoded with quantize: {settings.quantize}, and so are texts that come later. "
            f"{error} Use the run on a machine like the one that made it, or run its recipe again here."
        ) from error
    check_same_encoder(settings.model, run.encoder["key"], now)
    return encoder


def fitted_encoder(run: RunFolder, device: str | None = None) -> EncoderSettings:
    """The encoder of a run as it was asked for, on another device if one is named."""
    saved = run.encoder
    # Neither may be chosen anew on this machine: vectors of other precision would be other vectors.
    options = {**saved["options"], "dtype": saved["key"].get("dtype")}
    if options.get("quantize") == AUTO:
        options["quantize"] = arithmetic_of_key(saved["key"])[0]
    return EncoderSettings.checked(**{**options, "device": device or options.get("device")})


def check_same_encoder(model: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses a model that has other files or settings than the one of a run, by the keys of both.

    Raises:
        ModelError: it is not the same; the message names what differs.
    """
    differing = [name for name in {**now, **then} if now.get(name) != then.get(name)]
    if differing:
        raise ModelError(
            f"The model {model!r} is not the one this run was encoded with: {', '.join(differing)} differ. Bring that "
            "model back, or run the recipe again."
        )
