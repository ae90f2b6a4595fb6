"""Dense decoders to carve: what is no whole one is refused, and a cut vocabulary still spells every text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from carved_models import SHAPE, dense, save_donor
from safetensors.torch import load_file, save_file
from tiny_models import tiny_tokenizer
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    modeling_gguf_pytorch_utils,
)

from moee_topics.encode.mixtures import donors
from moee_topics.errors import InputError, ModelError


def test_a_broken_gguf_is_our_error(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(ModelError, match="cannot be loaded"):
        donors.load_donor(path)
    with pytest.raises(ModelError, match="There is no file"):
        donors.load_donor(tmp_path / "none.gguf")


def test_no_bar_is_drawn_while_a_gguf_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    donor = save_donor(tmp_path)

    def expanded(*given: Any, **options: Any) -> Any:
        assert list(modeling_gguf_pytorch_utils.tqdm([1, 2], desc="Converting")) == [1, 2]
        return load(*given, **options)

    load = AutoModelForCausalLM.from_pretrained
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", expanded)
    capsys.readouterr()
    donors.load_donor(donor)
    assert capsys.readouterr().err == ""
    list(modeling_gguf_pytorch_utils.tqdm([1, 2], desc="Converting"))
    assert "Converting" in capsys.readouterr().err, "it is drawn for others"


@pytest.mark.parametrize("architecture", ["llama", "clip"])
def test_a_gguf_that_ends_early_or_holds_no_whole_decoder_is_our_error(tmp_path: Path, architecture: str) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_tensor("token_embd.weight", np.ones((64, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    whole = path.read_bytes()
    for share in (0.002, 0.01, 0.5, 1.0):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ModelError, match="cannot be loaded"):
            donors.load_donor(path)


def test_a_bpe_whose_numbers_do_not_follow_its_merges_is_not_cut() -> None:
    """Its first numbers would be tokens whose parts are gone."""
    state = json.loads(tiny_tokenizer().backend_tokenizer.to_str())
    vocabulary, first = state["model"]["vocab"], state["model"]["merges"][0]
    made, part = "".join(first), first[0]
    vocabulary[made], vocabulary[part] = vocabulary[part], vocabulary[made]
    shuffled = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)))
    with pytest.raises(ModelError, match="not numbered in the order of their merges"):
        donors.cut_vocabulary(dense(), shuffled, 300)


def test_a_cut_vocabulary_splits_into_tokens_that_were_there() -> None:
    tokenizer, model = tiny_tokenizer(), dense()
    before = model.embed_tokens.weight.clone()
    cut = donors.cut_vocabulary(model, tokenizer, 300)
    text = "The quick brown fox"

    ids = cut(text)["input_ids"]
    assert max(ids) < 300 and cut.decode(ids) == text and cut.eos_token_id == tokenizer.eos_token_id
    assert cut.convert_ids_to_tokens(ids) == tokenizer.convert_ids_to_tokens(ids)
    assert torch.equal(model.embed_tokens.weight, before[:300]) and model.config.vocab_size == 300
    with pytest.raises(InputError, match="cannot be cut to 100"):
        donors.cut_vocabulary(dense(), tokenizer, 100)
    with pytest.raises(ModelError, match="no BPE"):
        donors.cut_vocabulary(dense(), object(), 300)


def test_a_donor_that_lacks_a_weight_or_holds_it_in_another_shape_is_refused(tmp_path: Path) -> None:
    path = save_donor(tmp_path / "dense") / "model.safetensors"
    whole = load_file(path)
    name = next(name for name in whole if name.endswith("1.mlp.down_proj.weight"))
    lacking = {key: weight for key, weight in whole.items() if key != name}
    for weights, message in (
        (lacking, "lacks 1 weights"),
        ({**lacking, name: whole[name][:, :7].contiguous()}, "dense"),
    ):
        save_file(weights, path, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=message):
            donors.load_donor(tmp_path / "dense")


def test_tied_weights_are_the_embeddings(tmp_path: Path) -> None:
    donor = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True))
    donor.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    model, _ = donors.load_donor(tmp_path)
    assert torch.equal(model.embed_tokens.weight, donor.model.embed_tokens.weight)
    assert not model.config.tie_word_embeddings, "a base model has no head to tie them to"


def test_a_donor_with_a_weight_that_is_no_number_is_refused_by_its_name(tmp_path: Path) -> None:
    path = save_donor(tmp_path / "dense") / "model.safetensors"
    whole = load_file(path)
    for name, value in (
        ("embed_tokens.weight", math.nan),
        ("layers.1.mlp.down_proj.weight", math.inf),
        ("norm.weight", -math.inf),
    ):
        damaged = {key: weight.clone() for key, weight in whole.items()}
        damaged[name].view(-1)[3] = value
        save_file(damaged, path, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=f"{name} of .* not finite"):
            donors.load_donor(tmp_path / "dense")


def test_a_mixture_is_told_from_a_donor_before_its_weights_are_read(
    tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(donors, "AutoModelForCausalLM", None)
    for source in ("pocket", tiny_olmoe):
        with pytest.raises(ModelError, match="is already a mixture of experts; give the dense decoder"):
            donors.load_donor(source)
