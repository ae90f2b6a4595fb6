"""What ``benchmarks/vllm_peer.py`` calls of vLLM, answered by transformers document by document."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModel, AutoTokenizer


class BaseModelLoader:
    """A loader is one by its base class."""


class LLM:
    """Reads the weights it is handed as a checkpoint of the hub: one by a wrong name is one that it lacks."""

    def __init__(self, folder: str, *, load_format: str, dtype: str, **options: Any) -> None:
        self.folder, self.dtype, self.options, self.closed = Path(folder), dtype, options, False
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.llm_engine = SimpleNamespace(engine_core=self)
        loaders[load_format]().load_weights(self, None)
        engines.append(self)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        tensors = {name: weight.contiguous() for name, weight in weights}
        save_file(tensors, self.folder / "model.safetensors", metadata={"format": "pt"})
        loaded = AutoModel.from_pretrained(self.folder, dtype=self.dtype, output_loading_info=True)
        self.model, self.lacking = loaded[0].eval(), loaded[1]["missing_keys"] | loaded[1]["unexpected_keys"]

    def encode(self, prompts: list[Any], *, pooling_task: str, use_tqdm: bool) -> list[SimpleNamespace]:
        outputs = []
        for prompt in prompts:
            ids = prompt["prompt_token_ids"] if isinstance(prompt, dict) else self.tokenizer(prompt)["input_ids"]
            if len(ids) >= self.options["max_model_len"]:
                raise ValueError(f"vLLM 0.26 does not end with a document of {len(ids)} tokens that a pass cuts")
            with torch.inference_mode():
                last = self.model(torch.tensor([ids])).last_hidden_state[0, -1]
            outputs.append(SimpleNamespace(outputs=SimpleNamespace(data=last)))
        return outputs

    def shutdown(self) -> None:
        self.closed = True


engines: list[LLM] = []
"""All that were made, the last one last."""
loaders: dict[str, Any] = {}
"""Load formats that were registered."""


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the double in the place of vLLM for one test."""

    def register_model_loader(name: str) -> Any:
        return lambda loader: loaders.update({name: loader})

    contents: dict[str, dict[str, Any]] = {
        "vllm": {"LLM": LLM},
        "vllm.config": {"PoolerConfig": lambda **given: given},
        "vllm.model_executor": {},
        "vllm.model_executor.model_loader": {
            "BaseModelLoader": BaseModelLoader,
            "register_model_loader": register_model_loader,
        },
    }
    for name, inside in contents.items():
        module = ModuleType(name)
        vars(module).update(inside)
        monkeypatch.setitem(sys.modules, name, module)
