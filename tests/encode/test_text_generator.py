"""Text by a causal model: greedy, one line, from the same prompt always the same; what cannot write says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_checkpoint, tiny_olmoe_config, tiny_tokenizer
from transformers import AutoModelForCausalLM

from moee_topics.encode import EncoderSettings, TextGenerator
from moee_topics.errors import InputError, ModelError

PROMPT = "Space probes orbit distant planets."


def generator(model: Path, **options: Any) -> TextGenerator:
    return TextGenerator(EncoderSettings(str(model), dtype="float32", **options), most_tokens=8)


def test_an_answer_is_the_most_probable_token_each_time(tiny_olmoe: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_olmoe, dtype=torch.float32), tiny_tokenizer()
    ids = tokenizer(PROMPT)["input_ids"]
    begun = len(ids)
    for _ in range(8):
        with torch.inference_mode():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id or "\n" in tokenizer.decode(ids[begun:]):
            break
    expected = tokenizer.decode(ids[begun:], skip_special_tokens=True).strip().partition("\n")[0].strip()
    writer = generator(tiny_olmoe)
    assert writer.answer(PROMPT) == expected == writer.answer(PROMPT) == generator(tiny_olmoe).answer(PROMPT)


def test_only_the_first_line_of_an_answer_is_taken(tiny_olmoe: Path) -> None:
    writer, lines = generator(tiny_olmoe), tiny_tokenizer()("\n Space flight \nDocument 1: more")["input_ids"]
    model: Any = SimpleNamespace(device="cpu")
    model.generate = lambda ids, **_: torch.cat([ids, torch.tensor([lines])], dim=1)
    writer._model = model
    assert writer.answer(PROMPT) == "Space flight"


def test_a_prompt_is_counted_without_weights_and_asked_as_a_user_where_there_is_a_template(tiny_olmoe: Path) -> None:
    writer = generator(tiny_olmoe)
    assert writer.count(PROMPT) == len(tiny_tokenizer()(PROMPT)["input_ids"]) and "_model" not in vars(writer)
    writer._tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %} [assistant]"
    assert writer._tokenizer.decode(writer._ids(PROMPT)) == f"[user] {PROMPT} [assistant]"


def test_the_identity_is_of_files_and_settings_and_no_place(tiny_olmoe: Path, tiny_qwen2_moe: Path) -> None:
    identity = generator(tiny_olmoe).identity
    assert identity["model"] == "folder" and str(tiny_olmoe) not in str(identity)
    assert identity != generator(tiny_qwen2_moe).identity
    eight_bits = TextGenerator(replace(generator(tiny_olmoe).settings, quantize="int8"), 8)
    assert identity != eight_bits.identity


def test_a_prompt_beyond_what_the_model_reads_is_refused(tiny_olmoe: Path) -> None:
    with pytest.raises(InputError, match=r"reads 512\. Give fewer documents"):
        (writer := generator(tiny_olmoe)).answer(PROMPT * 100)
    assert "_model" not in vars(writer), "before the weights are loaded"


def test_a_model_without_a_head_cannot_write_and_says_so(tmp_path: Path) -> None:
    folder = save_checkpoint(tiny_olmoe_config(), tmp_path / "model", shard_size="5GB")
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="needs its language-model head"):
        generator(folder).answer(PROMPT)
    with pytest.raises(ModelError, match="holds no model"):
        generator(tmp_path).identity  # noqa: B018
