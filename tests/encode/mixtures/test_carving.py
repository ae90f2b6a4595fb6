"""A dense decoder carved into experts: nothing is lost but what is left out."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from carved_models import KINDS, SETTINGS, dense, rows, states
from tiny_models import tiny_tokenizer
from transformers import AutoModel

from moee_topics.encode import MoEEncoder
from moee_topics.encode.mixtures import carving
from moee_topics.encode.mixtures.settings import CarveSettings
from moee_topics.encode.models import load_model
from moee_topics.encode.quantization import int4_blocks, int4_checkpoint
from moee_topics.encode.settings import EncoderSettings
from moee_topics.errors import InputError, ModelError


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("grouping", ["kmeans", "spread", "random"])
def test_with_every_group_active_the_mixture_is_the_dense_model(kind: str, grouping: str) -> None:
    donor = dense(kind)
    model, _ = carving.carve(donor, rows(), replace(SETTINGS, active=6, strength=1e-6, grouping=grouping))

    for row in rows(3):
        assert (states(model, row) - states(donor, row)).abs().max() <= 1e-5


def test_first_layers_can_stay_dense() -> None:
    donor = dense()
    model, cuts = carving.carve(donor, rows(), replace(SETTINGS, active=6, strength=1e-6, dense_layers=1))

    assert len(cuts) == 1 and not hasattr(model.layers[0].mlp, "experts")
    assert (states(model, rows(1)[0]) - states(donor, rows(1)[0])).abs().max() <= 1e-5


def test_carving_twice_gives_the_same() -> None:
    once, twice = (carving.carve(dense(), rows(), SETTINGS)[0].state_dict() for _ in range(2))

    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_what_is_read_of_a_router_is_the_logarithm_of_the_contributions_it_predicts(tmp_path: Path) -> None:
    for strength in (1e-4, 0.01):
        donor = dense()
        model, cuts = carving.carve(donor, rows(), replace(SETTINGS, strength=strength))
        carving.write_carved(tmp_path / str(strength), model, tiny_tokenizer(), cuts, {})
        encoder = MoEEncoder.from_pretrained(tmp_path / str(strength), dtype="float32", prompt="none", pooling="mean")
        logits = encoder.encode(["a farmer sleeps"]).router_logits[0]

        ids = torch.tensor([encoder.tokenizer("a farmer sleeps")["input_ids"]])
        inputs: list[torch.Tensor] = []
        model.layers[0].mlp.register_forward_pre_hook(lambda module, given, to=inputs: to.append(given[0][0]))
        model(input_ids=ids, use_cache=False)
        expected = (inputs[0] @ cuts[0].router.T + cuts[0].bias).mean(0).detach()
        np.testing.assert_allclose(logits[0], expected.numpy(), atol=0.01)


def test_a_carved_checkpoint_is_an_ordinary_mixture(tmp_path: Path) -> None:
    model, cuts = carving.carve(dense(), rows(), SETTINGS)
    carving.write_carved(tmp_path / "carved", model, tiny_tokenizer(), cuts, {"donor": "tiny"})

    again = AutoModel.from_pretrained(tmp_path / "carved", dtype=torch.float32)
    assert type(again).__name__ == "Glm4MoeModel"
    assert torch.equal(states(again, rows(1)[0]), states(model, rows(1)[0]))
    with pytest.raises(InputError, match="exists already"):
        carving.write_carved(tmp_path / "carved", model, tiny_tokenizer(), cuts, {})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("stored_in", ["32 bits", "4 bits"])
def test_an_embedding_depends_on_its_text_alone(tmp_path: Path, dtype: str, stored_in: str) -> None:
    """Not on the pack it is encoded in, nor on when: a model that is loaded again gives the same to the bit."""
    donor, texts = (
        dense(),
        ["Space probes orbit planets", "the goalie saves the puck and the court heard", "a farmer sleeps"],
    )
    model, cuts = carving.carve(donor, rows(), CarveSettings(groups=2, group_size=24, active=1))
    if stored_in == "4 bits":
        tmp_path.joinpath("carved").mkdir()
        int4_checkpoint.write_compact(model, tmp_path / "carved", tiny_tokenizer())
    else:
        carving.write_carved(tmp_path / "carved", model, tiny_tokenizer(), cuts, {})
    encoder, again = (
        MoEEncoder.from_pretrained(tmp_path / "carved", dtype=dtype, prompt="none", pooling="mean") for _ in range(2)
    )
    together, repeated = encoder.encode(texts), again.encode(texts)
    assert np.array_equal(together.hidden_states, repeated.hidden_states)
    assert np.array_equal(together.router_logits, repeated.router_logits)
    for position, text in enumerate(texts):
        alone = encoder.encode([text])
        np.testing.assert_allclose(together.hidden_states[position], alone.hidden_states[0], atol=2e-5)
        np.testing.assert_allclose(together.router_logits[position], alone.router_logits[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_with_every_group_active_what_is_stored_is_the_donor_in_as_many_bits(
    tmp_path: Path, dtype: str, most: float
) -> None:
    """In 4 bits too: each weight that the mixture rounds is rounded in the donor, in the blocks it is stored in."""
    donor = dense()
    shape = CarveSettings(groups=2, group_size=24, active=2, strength=1e-6)
    model, cuts = carving.carve(donor, rows(), shape)
    carving.write_carved(tmp_path / "plain", model, tiny_tokenizer(), cuts, {})
    (tmp_path / "compact").mkdir()
    int4_checkpoint.write_compact(model, tmp_path / "compact", tiny_tokenizer())
    rounded = copy.deepcopy(donor)
    rounded.embed_tokens.weight.data = int4_blocks.unpack_rows(
        *int4_blocks.pack_rows(donor.embed_tokens.weight), torch.float32
    )
    for layer, cut in zip(rounded.layers, cuts, strict=True):
        order = torch.cat([cut.shared, cut.groups.flatten()])
        for weight in (getattr(layer.self_attn, f"{name}_proj").weight for name in "qkvo"):
            weight.data = int4_blocks.rounded(weight, int4_blocks.block_scales(weight))
        for name, weight in ((name, getattr(layer.mlp, f"{name}_proj").weight) for name in ("gate", "up", "down")):
            # Blocks of a down projection are neurons of one group.
            blocks = weight.data[:, order].contiguous() if name == "down" else weight.data
            value = int4_blocks.rounded(blocks, int4_blocks.block_scales(blocks))
            weight.data = value[:, order.argsort()].contiguous() if name == "down" else value
    for folder, parent in (("plain", donor), ("compact", rounded)):
        loaded, _ = load_model(EncoderSettings(str(tmp_path / folder), dtype=dtype))
        with torch.no_grad():
            lost = states(loaded, rows(1)[0]).float() - states(parent, rows(1)[0])
        assert lost.abs().max() <= most * max(1.0, float(states(parent, rows(1)[0]).abs().max())), folder


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"groups": 5, "group_size": 13}, InputError, "do not divide"),
        ({"groups": 8}, InputError, "do not divide"),
        ({"group_size": 0}, InputError, "do not divide"),
        ({"strength": 0.0}, InputError, "strength is"),
        ({"active": 7}, InputError, "active must be"),
        ({"active": (3, 2)}, InputError, "active is one number for all layers"),
        ({"dense_layers": 2}, InputError, "dense_layers"),
        ({"strength": math.nan}, InputError, "strength is"),
        ({"decorrelate": -0.1}, InputError, "decorrelate is"),
        ({"decorrelate": math.nan}, InputError, "decorrelate is"),
        ({"decorrelate": math.inf}, InputError, "decorrelate is"),
        ({"seed": -1}, InputError, "seed is"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        carving.carve(dense(), rows(), replace(SETTINGS, **changes))


def test_what_cannot_be_carved_is_refused() -> None:
    with pytest.raises(InputError, match="calibration text has 64 tokens"):
        carving.carve(dense(), rows(2), SETTINGS)
    with pytest.raises(ModelError, match="have biases"):
        carving.carve(dense(mlp_bias=True), rows(), SETTINGS)
    gateless = dense()
    del gateless.layers[1].mlp.gate_proj
    with pytest.raises(ModelError, match="has no gated feed-forward"):
        carving.carve(gateless, rows(), SETTINGS)
    other = dense()
    other.config.model_type = "gpt_neox"
    with pytest.raises(ModelError, match="'gpt_neox' cannot be carved"):
        carving.carve(other, rows(), SETTINGS)


@pytest.mark.parametrize("decorrelate", [0.0, 0.1])
def test_one_text_does_not_say_how_texts_differ(decorrelate: float) -> None:
    settings = replace(SETTINGS, decorrelate=decorrelate)
    one = [[token for row in rows(7) for token in row]]
    for given in (one, [*one, [5]]):  # a text of one token, which is left out of all means
        with pytest.raises(InputError, match="are all of one text"):
            carving.carve(dense(), given, settings)
    model, cuts = carving.carve(dense(), [*one, [5, 6]], settings)
    assert all(math.isfinite(value) for cut in cuts for value in vars(cut).values() if isinstance(value, float))
    assert all(weight.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_a_donor_whose_weights_have_no_place_is_refused_before_any_layer_is_cut(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carving, "feed_forward_inputs", None)
    with pytest.raises(ModelError, match=r"the donor has a weight .*self_attn.o_proj.bias of shape \(48,\)"):
        carving.carve(dense(kind, attention_bias=True), rows(), SETTINGS)
    lacking, other = dense(kind), dense(kind)
    del lacking.layers[1].input_layernorm
    with pytest.raises(ModelError, match=r"the mixture has a weight layers.1.input_layernorm.weight"):
        carving.carve(lacking, rows(), SETTINGS)
    other.norm.weight = torch.nn.Parameter(torch.ones(47))
    with pytest.raises(ModelError, match=r"the donor has a weight norm.weight of shape \(47,\)"):
        carving.carve(other, rows(), SETTINGS)


def test_a_donor_that_computes_what_is_no_number_is_refused() -> None:
    donor = dense()
    donor.layers[0].mlp.down_proj.weight *= 1e38
    with pytest.raises(ModelError, match="feed-forward of layer 1 of this donor is not finite"):
        carving.carve(donor, rows(), SETTINGS)
