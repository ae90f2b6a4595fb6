"""Model folders that try to run, fetch or reach something: none does, and what is not refused encodes as it should."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from moee_topics.encode.encoder import MoEEncoder
from moee_topics.encode.models import load_config
from moee_topics.errors import ModelError, MoEETopicsError

HUB = "someone/evil"
CODE = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
JINJA = "{{ cycler.__init__.__globals__.os.system('touch ran') }}"
CONFIG, TOKENIZER, INDEX = "config.json", "tokenizer_config.json", "model.safetensors.index.json"
Change = Callable[[Path], None]


def keys(file: str, values: Mapping[str, Any]) -> Change:
    """Lays keys over a JSON file of the folder, which may not be there yet."""

    def change(folder: Path) -> None:
        path = folder / file
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps({**before, **values}), encoding="utf-8")

    return change


def text(file: str, content: str) -> Change:
    def change(folder: Path) -> None:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(content, encoding="utf-8")

    return change


def shards(change_name: Callable[[Path, str], str]) -> Change:
    """Lets the index name the first shard otherwise; the function may move the file there."""

    def change(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        first = min(index["weight_map"].values())
        other = change_name(folder, first)
        index["weight_map"] = {name: other if file == first else file for name, file in index["weight_map"].items()}
        (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")

    return change


def moved(to: str) -> Change:
    def move(folder: Path, shard: str) -> str:
        target = folder / to.format(folder=folder)
        target.parent.mkdir(exist_ok=True)
        (folder / shard).rename(target)
        return to.format(folder=folder)

    return shards(move)


def weights(alter: Callable[[dict[str, torch.Tensor]], None]) -> Change:
    """Changes the tensors of the first shard."""

    def change(folder: Path) -> None:
        path = min(folder.glob("*.safetensors"))
        tensors = load_file(path)
        alter(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return change


def first_of(tensors: dict[str, torch.Tensor], value: float) -> None:
    tensors[min(tensors)][:] = value


def header(alter: Callable[[dict[str, Any]], None]) -> Change:
    """Changes the header of the first shard, the bytes behind it not."""

    def change(folder: Path) -> None:
        path = min(folder.glob("*.safetensors"))
        raw = path.read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        table = json.loads(raw[8 : 8 + size])
        alter(table)
        new = json.dumps(table).encode()
        path.write_bytes(struct.pack("<Q", len(new)) + new + raw[8 + size :])

    return change


def of_first(table: dict[str, Any], **values: Any) -> None:
    table[min(name for name in table if name != "__metadata__")].update(values)


class Bomb:
    """Unpickled, it touches a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def pickled(folder: Path, content: Any) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(content))


def torch_pickled(folder: Path) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    torch.save({"model.embed_tokens.weight": Bomb()}, folder / "pytorch_model.bin")


def linked(file: str, to: str) -> Change:
    def change(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).symlink_to(to.format(folder=folder))

    return change


def in_tokenizer(**values: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        data = json.loads(path.read_text(encoding="utf-8"))
        for key, value in values.items():
            data[key] = {**data[key], **value} if isinstance(value, dict) and isinstance(data.get(key), dict) else value
        path.write_text(json.dumps(data), encoding="utf-8")

    return change


def model_of(model_type: str, **values: Any) -> Change:
    return keys(CONFIG, {"model_type": model_type, "architectures": None, **values})


def added(number: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": number, "content": content, **flags}


def also_in_the_last(folder: Path) -> None:
    """The last shard holds a tensor of the first as well, with other numbers; the index says which one counts."""
    first, *_, last = sorted(folder.glob("*.safetensors"))
    name, tensor = min(load_file(first).items())
    save_file({**load_file(last), name: tensor + 1}, last, metadata={"format": "pt"})


HOSTILE: dict[str, Change] = {
    # code
    "code for the model": keys(CONFIG, {"auto_map": CODE}),
    "code of a model type nobody knows": model_of("evil", auto_map=CODE),
    "code of another repository": keys(CONFIG, {"auto_map": {"AutoModel": f"{HUB}--evil.Evil"}}),
    "code of a repository for the configuration": model_of("evil", auto_map={"AutoConfig": f"{HUB}--evil.Evil"}),
    "code outside of the folder": keys(CONFIG, {"auto_map": {"AutoConfig": "../evil.Evil"}}),
    "code asked for by the configuration": keys(CONFIG, {"auto_map": CODE, "trust_remote_code": True}),
    "code for the tokenizer": keys(TOKENIZER, {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}),
    "code for a tokenizer nobody knows": keys(
        TOKENIZER, {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"}
    ),
    "code for the tokenizer, in the configuration": keys(CONFIG, {"auto_map": {"AutoTokenizer": "evil.Evil"}}),
    "code for a processor": keys("preprocessor_config.json", {"auto_map": {"AutoProcessor": "evil.Evil"}}),
    "code for generating": text("custom_generate/generate.py", "open('ran', 'w').close()"),
    "code in a setup": text("__init__.py", "open('ran', 'w').close()"),
    "a class by its path": keys(CONFIG, {"architectures": ["os.system"], "model_class": "evil.Evil"}),
    "a dtype that is code": keys(CONFIG, {"dtype": "__import__('os').system('touch ran')"}),
    "an activation that is code": keys(CONFIG, {"hidden_act": "__import__('os').system('touch ran')"}),
    # kernels
    "attention from the hub": keys(CONFIG, {"attn_implementation": HUB}),
    "attention from the hub, old key": keys(CONFIG, {"_attn_implementation": HUB}),
    "attention from the hub, behind a name": keys(CONFIG, {"attn_implementation": f"paged|{HUB}"}),
    "attention from the hub, for each part": keys(CONFIG, {"attn_implementation": {"": HUB, "text_config": HUB}}),
    "experts from the hub": keys(CONFIG, {"experts_implementation": HUB, "use_kernels": True}),
    "kernels by a table": keys(CONFIG, {"use_kernels": True, "kernel_config": {"RMSNorm": f"{HUB}:Evil"}}),
    "weights in a format of hub kernels": keys(CONFIG, {"quantization_config": {"quant_method": "mxfp4"}}),
    "weights in fp8": keys(CONFIG, {"quantization_config": {"quant_method": "fp8", "weight_block_size": [32, 32]}}),
    "a quantizer nobody knows": keys(CONFIG, {"quantization_config": {"quant_method": "evil", "auto_map": CODE}}),
    "a quantizer without a name": keys(CONFIG, {"quantization_config": {"bits": 4}}),
    "a quantizer that is a list": keys(CONFIG, {"quantization_config": ["evil"]}),
    # other places
    "a name of the hub in the configuration": keys(CONFIG, {"_name_or_path": HUB, "_commit_hash": "f" * 40}),
    "an adapter of a hub model": keys("adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": HUB}),
    "a backbone of the hub": model_of("detr", use_timm_backbone=False, backbone=HUB, use_pretrained_backbone=True),
    "an encoder of the hub": model_of("rag", question_encoder={"model_type": HUB}, generator={"model_type": HUB}),
    "a tokenizer of the hub": keys(TOKENIZER, {"name_or_path": HUB, "tokenizer_file": HUB, "vocab_file": HUB}),
    "a tokenizer's file elsewhere": keys(TOKENIZER, {"tokenizer_file": "/etc/passwd", "vocab_file": "/etc/passwd"}),
    "versions of a tokenizer elsewhere": keys(TOKENIZER, {"fast_tokenizer_files": ["../../tokenizer.9.0.0.json"]}),
    "a shard by its whole path": moved("{folder}/../outside.safetensors"),
    "a shard outside of the folder": moved("../outside.safetensors"),
    "a shard in a folder inside": moved("inside/part.safetensors"),
    "a shard of another kind": moved("part.bin"),
    "a shard that is a device": shards(lambda *_: "/dev/zero"),
    "a shard that is the folder": shards(lambda *_: "."),
    "a shard that is not there": shards(lambda *_: "model-99999.safetensors"),
    "a weights file that links to a device": linked("model-00001-of-00007.safetensors", "/dev/zero"),
    "a tokenizer that links to itself": linked("tokenizer.json", "{folder}/tokenizer.json"),
    "a configuration that links to a device": linked(CONFIG, "/dev/zero"),
    "a pipe in the place of a file": lambda folder: os.mkfifo(folder / "vocab.json"),
    # templates
    "a chat template that runs": keys(TOKENIZER, {"chat_template": JINJA}),
    "chat templates by name": keys(TOKENIZER, {"chat_template": [{"name": "default", "template": JINJA}]}),
    "a chat template in a file": text("chat_template.jinja", JINJA),
    "a chat template without an end": text("chat_template.jinja", "{% for x in range(10**9) %}"),
    # pickles
    "weights in a pickle": lambda folder: pickled(folder, Bomb()),
    "weights in a pickle, with a name": lambda folder: pickled(folder, {"model.norm.weight": Bomb()}),
    "weights in torch's file": torch_pickled,
    "a pickle beside the weights": lambda folder: text("training_args.bin", pickle.dumps(Bomb(), 0).decode())(folder),
    # numbers
    "more layers than weights": keys(CONFIG, {"num_hidden_layers": 10**9}),
    "a negative number of layers": keys(CONFIG, {"num_hidden_layers": -1}),
    "a vocabulary of 2^40": keys(CONFIG, {"vocab_size": 2**40}),
    "no vocabulary": keys(CONFIG, {"vocab_size": 0}),
    "a width of 2^40": keys(CONFIG, {"hidden_size": 2**40}),
    "a negative width": keys(CONFIG, {"hidden_size": -64}),
    "a million heads": keys(CONFIG, {"num_key_value_heads": 10**6}),
    "a million experts": keys(CONFIG, {"num_experts": 10**6}),
    "more experts chosen than there are": keys(CONFIG, {"num_experts_per_tok": 99}),
    "no heads": keys(CONFIG, {"num_attention_heads": 0}),
    "heads that do not divide": keys(CONFIG, {"num_attention_heads": 7}),
    "a norm that is no number": keys(CONFIG, {"rms_norm_eps": float("nan")}),
    "a rope that divides by zero": keys(CONFIG, {"rope_parameters": {"rope_type": "linear", "factor": 0.0}}),
    "weights that are no numbers": weights(lambda tensors: first_of(tensors, float("nan"))),
    "weights without end": weights(lambda tensors: first_of(tensors, float("inf"))),
    "a shape of 2^60": header(lambda table: of_first(table, shape=[2**60, 2**60])),
    "a negative shape": header(lambda table: of_first(table, shape=[-1, 64])),
    "offsets beyond the file": header(lambda table: of_first(table, data_offsets=[0, 2**62])),
    "offsets that overlap": header(lambda table: of_first(table, data_offsets=[0, 4])),
    "a type nobody knows": header(lambda table: of_first(table, dtype="F7")),
    "a header of 2^60 bytes": lambda folder: min(folder.glob("*.safetensors")).write_bytes(struct.pack("<Q", 2**60)),
    "a tensor twice": also_in_the_last,
    # tokenizers
    "a tokenizer without words": in_tokenizer(model={"vocab": {}, "merges": []}, added_tokens=[]),
    "a token beyond the vocabulary": in_tokenizer(added_tokens=[added(0, "<|endoftext|>"), added(10**6, "text")]),
    "a word beyond the vocabulary": in_tokenizer(added_tokens=[added(384, "text")]),
    "a tokenizer that puts in a foreign token": in_tokenizer(
        post_processor={
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"x": {"id": "x", "ids": [10**6], "tokens": ["x"]}},
        }
    ),
    "a pattern that takes forever": in_tokenizer(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a|a)*b"}, "behavior": "Isolated", "invert": False}
    ),
    "a limit of a tokenizer that is text": keys(TOKENIZER, {"model_max_length": "many"}),
    # JSON
    "a configuration 100,000 deep": text(CONFIG, '{"model_type": "olmoe", "x": ' + "[" * 10**5 + "]" * 10**5 + "}"),
    "a configuration that is a list": text(CONFIG, "[]"),
    "a number of 5,000 digits": text(CONFIG, '{"model_type": "olmoe", "vocab_size": ' + "9" * 5000 + "}"),
    "an index without a map": text(INDEX, '{"metadata": {}}'),
    "an index that names weights nobody has": keys(INDEX, {"weight_map": {"evil": "model-00001-of-00007.safetensors"}}),
}
AS_THEY_SHOULD = ["a text", "another text about a fox"]


def test_there_are_as_many_as_were_tried_before() -> None:
    assert len(HOSTILE) >= 46


@pytest.fixture(scope="module")
def right(tiny_olmoe: Path) -> np.ndarray:
    encoder = MoEEncoder.from_pretrained(tiny_olmoe, dtype="float32", prompt="none")
    return encoder.encode(AS_THEY_SHOULD).hidden_states


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_that_a_folder_names_is_run_fetched_or_believed(
    name: str, tiny_olmoe: Path, right: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_olmoe, tmp_path / "model"))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Evil: pass\n")
    HOSTILE[name](folder)
    before = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    asked: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> None:
        asked.append(arguments)
        raise OSError("the network is not to be asked")

    for place in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, place, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("transformers.integrations.hub_kernels.get_kernel", refuse)
    monkeypatch.chdir(tmp_path)
    try:
        vectors = MoEEncoder.from_pretrained(folder, dtype="float32", prompt="none").encode(AS_THEY_SHOULD)
        assert np.array_equal(vectors.hidden_states, right) or name in ANOTHER_MODEL
        assert np.isfinite(vectors.hidden_states).all()
    except MoEETopicsError:
        pass  # refusing such a folder is right as well
    assert not asked and not (tmp_path / "ran").exists() and "evil" not in sys.modules
    assert {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts} == before


ELSEWHERE: dict[str, tuple[Change, str]] = {
    "a backbone": (keys(CONFIG, {"backbone": HUB, "use_pretrained_backbone": True}), f"names '{HUB}' as its backbone"),
    "a backbone inside": (keys(CONFIG, {"vision_config": {"deep": [{"backbone": HUB}]}}), f"names '{HUB}' as its"),
    "a backbone, spelt otherwise": (
        lambda folder: text(CONFIG, (folder / CONFIG).read_text().replace("{", f'{{"\\u0062ackbone": "{HUB}",', 1))(
            folder
        ),
        f"names '{HUB}' as its backbone",
    ),
    "an adapter beside the model": (keys("adapter_config.json", {"base_model_name_or_path": HUB}), "has an adapter"),
    "where it was": (keys(CONFIG, {"_name_or_path": HUB}), ""),
    "where its text was": (keys(CONFIG, {"text_config": {"_name_or_path": HUB}, "vision_config": {"x": HUB}}), ""),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_model_of_the_hub_that_names_another_one_does_not_fetch_it(
    name: str, tiny_olmoe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is in the cache, and whoever asks for another one fails."""
    commit, folder = "0" * 40, tmp_path / "models--its--own"
    shutil.copytree(tiny_olmoe, folder / "snapshots" / commit)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    change, message = ELSEWHERE[name]
    change(folder / "snapshots" / commit)
    asked: list[str] = []
    download = huggingface_hub.file_download.hf_hub_download

    def heard(repo_id: str, filename: str, **options: Any) -> Any:
        asked.append(repo_id)
        return download(repo_id, filename, **{**options, "cache_dir": tmp_path, "local_files_only": True})

    monkeypatch.setattr("transformers.utils.hub.hf_hub_download", heard)
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    if message:
        with pytest.raises(ModelError, match=message):
            load_config("its/own")
    else:
        load_config("its/own")
    assert set(asked) == {"its/own"}


ANOTHER_MODEL = {"a pattern that takes forever"}
"""Folders that say in words what another model is, and are that one."""
