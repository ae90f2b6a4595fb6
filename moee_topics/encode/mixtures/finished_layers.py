"""What a carving finished before it was interrupted, layer by layer, so that the same carving goes on there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from moee_topics.encode.mixtures.settings import CarveSettings
from moee_topics.store import atomic_path


class FinishedLayers:
    """Tensors and numbers of layers in files of a folder; without a folder nothing is kept."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    @classmethod
    def of(
        cls, root: Path, dense: PreTrainedModel, rows: Sequence[Sequence[int]], settings: CarveSettings
    ) -> FinishedLayers:
        """Those of one carving: another donor, text or shape has another folder below ``root``."""
        digest = hashlib.blake2b(json.dumps([asdict(settings), rows]).encode(), digest_size=16)
        for name, weight in dense.state_dict().items():
            digest.update(name.encode())
            digest.update(weight.contiguous().numpy())
        return cls(root / digest.hexdigest())

    def read(self, name: str) -> dict[str, Any] | None:
        """What was written under a name, or None where it was not, or not as a whole."""
        if self.folder is None:
            return None
        try:
            with safe_open(self.folder / f"{name}.safetensors", "pt") as file:
                tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - no mapping
                return {**tensors, **json.loads(file.metadata()["numbers"])}
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None  # a layer takes minutes, and is made again

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Keeps tensors and numbers, so that a kill at any moment leaves them whole or not at all.

        Raises:
            ResourceError: the disk is full.
        """
        if self.folder is None:
            return
        tensors = {key: value.contiguous() for key, value in values.items() if isinstance(value, Tensor)}
        numbers = {key: value for key, value in values.items() if key not in tensors}
        with atomic_path(self.folder / f"{name}.safetensors") as unfinished:
            save_file(tensors, unfinished, metadata={"numbers": json.dumps(numbers)})
