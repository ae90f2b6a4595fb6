"""Loading: what a checkpoint's files ask for is not done, and what this machine lacks is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from moee_topics.encode.encoder import MoEEncoder
from moee_topics.encode.models.loading import device_of, load_config
from moee_topics.encode.settings import EncoderSettings
from moee_topics.encode.source import EncoderSource
from moee_topics.errors import InputError

KERNEL = "someone/a-kernel"


def test_the_attention_that_a_configuration_names_is_not_taken(tiny_olmoe: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_olmoe / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "attn_implementation": KERNEL}), encoding="utf-8")
    assert load_config(tmp_path)._attn_implementation is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "nothing", "meta", "mps:1", "cpu:1", "xla"])
def test_a_device_that_is_not_here_is_refused_by_name_before_a_file_is_read(device: str) -> None:
    for ask in (lambda: EncoderSource(EncoderSettings("no/model", device=device)).device, lambda: device_of(device)):
        with pytest.raises(InputError, match=rf"encoder\.device is '{device}'"):
            ask()
    with pytest.raises(InputError, match=r"encoder\.device"):
        MoEEncoder.from_pretrained("no/model", device=device)


def test_without_a_name_the_device_is_the_best_there_is() -> None:
    assert device_of(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
