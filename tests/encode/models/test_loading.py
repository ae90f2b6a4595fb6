"""Loading: what a checkpoint's files ask for is not done, and what this machine lacks is refused by name."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from moee_topics.encode.encoder import MoEEncoder
from moee_topics.encode.models.loading import device_of, load_config
from moee_topics.encode.settings import EncoderSettings
from moee_topics.encode.source import EncoderSource
from moee_topics.errors import InputError, MoEETopicsError

KERNEL = "someone/a-kernel"
HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "attention from the hub": ("config.json", {"attn_implementation": KERNEL}),
    "attention from the hub, old key": ("config.json", {"_attn_implementation": KERNEL}),
    "experts from the hub": ("config.json", {"experts_implementation": KERNEL, "use_kernels": True}),
    "code for the model": ("config.json", {"auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}}),
    "code of another repository": ("config.json", {"auto_map": {"AutoModel": "someone/evil--evil.Evil"}}),
    "code for the tokenizer": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}),
    "a chat template that runs": (
        "tokenizer_config.json",
        {"chat_template": "{{ cycler.__init__.__globals__.os.system('touch ran') }}"},
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_that_a_folder_names_is_run_or_downloaded(
    name: str, tiny_olmoe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, (file, keys) = Path(shutil.copytree(tiny_olmoe, tmp_path / "model")), HOSTILE[name]
    before = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps({**before, **keys}), encoding="utf-8")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Evil: pass\n")
    asked: list[Any] = []
    monkeypatch.setattr("transformers.integrations.hub_kernels.get_kernel", lambda *given, **_: asked.append(given))
    monkeypatch.chdir(tmp_path)
    try:
        found = MoEEncoder.from_pretrained(folder, dtype="float32").encode(["a text"])
        assert found.hidden_states.shape == (1, 64)
    except MoEETopicsError:
        pass  # refusing such a folder is right as well
    assert not asked and not (tmp_path / "ran").exists() and "evil" not in sys.modules


def test_the_attention_that_a_configuration_names_is_not_taken(tiny_olmoe: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_olmoe / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "attn_implementation": KERNEL}), encoding="utf-8")
    assert load_config(tmp_path)._attn_implementation is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "nothing"])
def test_a_device_that_is_not_here_is_refused_by_name_before_a_file_is_read(device: str) -> None:
    for ask in (lambda: EncoderSource(EncoderSettings("no/model", device=device)).device, lambda: device_of(device)):
        with pytest.raises(InputError, match=rf"encoder\.device is '{device}'"):
            ask()
    with pytest.raises(InputError, match=r"encoder\.device"):
        MoEEncoder.from_pretrained("no/model", device=device)


def test_without_a_name_the_device_is_the_best_there_is() -> None:
    assert device_of(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
