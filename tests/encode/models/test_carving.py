"""A dense decoder carved into experts, distilled and stored in four bits: nothing is lost but what is left out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import VOCABULARY, tiny_tokenizer
from transformers import AutoModel, LlamaConfig, LlamaModel, Qwen2Config, Qwen2Model, Qwen3Config, Qwen3Model

from moee_topics.encode import MoEEncoder
from moee_topics.encode.models import carved, carving, compact, distillation, donors, fourbit
from moee_topics.encode.models.carving import CarveSettings
from moee_topics.encode.models.distillation import DistilSettings, Texts, Trainer
from moee_topics.errors import InputError, ModelError, ResourceError

SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
SETTINGS = CarveSettings(groups=6, group_size=12, active=3)
KINDS = {"llama": (LlamaConfig, LlamaModel), "qwen2": (Qwen2Config, Qwen2Model), "qwen3": (Qwen3Config, Qwen3Model)}


def dense(kind: str = "llama", **changes: object) -> torch.nn.Module:
    config, model = KINDS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = model(config(**SHAPE, **changes)).eval().requires_grad_(False)
        for parameter in made.parameters():
            if parameter.dim() == 1:  # norms of 1 and biases of 0 would hide that they are carried over
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return made


def rows(count: int = 24, length: int = 32) -> list[list[int]]:
    return np.random.default_rng(0).integers(1, VOCABULARY, (count, length)).tolist()


def states(model: torch.nn.Module, row: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([row]), use_cache=False).last_hidden_state


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("grouping", ["kmeans", "spread", "random"])
def test_with_every_group_active_the_mixture_is_the_dense_model(kind: str, grouping: str) -> None:
    donor = dense(kind)
    model, _ = carving.carve(donor, rows(), replace(SETTINGS, active=6, strength=1e-6, grouping=grouping))

    for row in rows(3):
        assert (states(model, row) - states(donor, row)).abs().max() <= 1e-5


def test_every_neuron_is_in_one_place() -> None:
    _, cuts = carving.carve(dense(), rows(), SETTINGS)

    for cut in cuts:
        assert sorted([*cut.shared.tolist(), *cut.groups.flatten().tolist()]) == list(range(96))
        assert cut.groups.shape == (6, 12) and cut.covered <= cut.oracle + 1e-6 <= 1 + 2e-6


def test_neurons_that_are_active_together_are_dealt_to_different_groups() -> None:
    generator = torch.Generator().manual_seed(0)
    # Six kinds of neurons: those of a kind are active on the same tokens and on no others.
    kinds = torch.arange(72) % 6
    active = torch.rand(400, 6, generator=generator) < 0.3
    sizes = active[:, kinds] * (1 + torch.rand(400, 72, generator=generator))
    together = carving._clusters(sizes, 6, np.random.default_rng(0))
    apart = carving._clusters(sizes, 12, np.random.default_rng(0)).T

    assert all(len(set(kinds[group].tolist())) == 1 for group in together)
    assert all(len(set(kinds[group].tolist())) >= 5 for group in apart)


def test_decorrelated_logits_are_uncorrelated_over_texts_and_keep_their_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = torch.arange(600) // 10
    inputs = torch.randn(60, 8, generator=generator)[texts] + 0.1 * torch.randn(600, 8, generator=generator)
    router, bias = torch.randn(5, 2, generator=generator) @ torch.randn(2, 8, generator=generator), torch.randn(5)
    router = router + 0.3 * torch.randn(5, 8, generator=generator)  # five logits, most of them of two directions
    old = inputs @ router.T + bias
    new_router, new_bias = carving.decorrelated(router, bias, inputs, texts, ridge=1e-6)
    new = inputs @ new_router.T + new_bias

    means = new.view(60, 10, 5).mean(1)
    assert torch.allclose(torch.cov(means.T), torch.eye(5), atol=0.01)
    assert torch.allclose(new.mean(0), old.mean(0), atol=1e-4)


def test_first_layers_can_stay_dense() -> None:
    donor = dense()
    model, cuts = carving.carve(donor, rows(), replace(SETTINGS, active=6, strength=1e-6, dense_layers=1))

    assert len(cuts) == 1 and not hasattr(model.layers[0].mlp, "experts")
    assert (states(model, rows(1)[0]) - states(donor, rows(1)[0])).abs().max() <= 1e-5


def test_carving_twice_gives_the_same() -> None:
    once, twice = (carving.carve(dense(), rows(), SETTINGS)[0].state_dict() for _ in range(2))

    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_the_router_finds_the_groups_that_contribute() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4000, 16, generator=generator)
    energies = (inputs @ torch.randn(16, 5, generator=generator)).exp()

    weights, bias, explained = carving.fit_router(inputs, energies)

    assert explained > 0.99
    assert torch.equal((inputs @ weights.T + bias).argmax(1), energies.argmax(1)) or explained > 0.999


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


def test_an_embedding_does_not_depend_on_its_pack(tmp_path: Path) -> None:
    model, cuts = carving.carve(dense(), rows(), SETTINGS)
    carving.write_carved(tmp_path / "carved", model, tiny_tokenizer(), cuts, {})
    texts = ["Space probes orbit planets", "the goalie saves the puck and the court heard", "a farmer sleeps"]

    encoder = MoEEncoder.from_pretrained(tmp_path / "carved", dtype="float32", prompt="none", pooling="mean")
    together = encoder.encode(texts)
    alone = [encoder.encode([text]) for text in texts]

    for position, one in enumerate(alone):
        np.testing.assert_allclose(together.hidden_states[position], one.hidden_states[0], atol=2e-5)
        np.testing.assert_allclose(together.router_logits[position], one.router_logits[0], atol=2e-5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"groups": 5, "group_size": 13}, InputError, "do not divide"),
        ({"groups": 8}, InputError, "do not divide"),
        ({"group_size": 0}, InputError, "do not divide"),
        ({"strength": 0.0}, InputError, "strength is"),
        ({"active": 7}, InputError, "active must be"),
        ({"dense_layers": 2}, InputError, "dense_layers"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(changes: dict[str, int], error: type[Exception], message: str) -> None:
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


def test_a_broken_gguf_is_our_error(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(ModelError, match="cannot be loaded"):
        donors.load_donor(path)
    with pytest.raises(ModelError, match="There is no file"):
        donors.load_donor(tmp_path / "none.gguf")


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


def test_four_bits_lose_no_more_than_half_a_step() -> None:
    weight = torch.randn(10, 48, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    scales = fourbit.block_scales(weight)
    again = fourbit.unpack(fourbit.pack(weight, scales), scales, (10, 48), torch.float32)

    assert torch.equal(again, fourbit.rounded(weight, scales))
    assert not again[3].any()
    assert ((again - weight).square().sum() / weight.square().sum()) < 0.01
    assert torch.equal(fourbit.rounded(again, scales), again)
    rows_again = fourbit.unpack_rows(*fourbit.pack_rows(weight), torch.float32)
    assert (rows_again - weight).abs().max() <= weight.abs().max() / 127


def texts(count: int = 40) -> Texts:
    rng = np.random.default_rng(1)
    sizes = rng.integers(10, 40, count)
    return Texts(rng.integers(1, VOCABULARY, int(sizes.sum())), np.cumsum(sizes))


TRAINING = DistilSettings(
    tokens=6 * 256, batch=256, lengths=(16, 8), layers=(0,), warm_up=1, rate=1e-3, checkpoint_seconds=0.0
)


def trainer(folder: Path, settings: DistilSettings = TRAINING, given: Texts | None = None) -> Trainer:
    donor = dense()
    model, _ = carving.carve(donor, rows(), replace(SETTINGS, strength=0.3))
    return Trainer(model.requires_grad_(True), donor, given or texts(), folder, settings)


def test_computing_every_neuron_is_the_mixture_itself() -> None:
    model, _ = carving.carve(dense(), rows(), replace(SETTINGS, strength=0.3))
    row = rows(1)[0]
    plain, names = states(model, row), model.state_dict()
    distillation.densify(model)

    assert (states(model, row) - plain).abs().max() < 1e-5
    folded = distillation.undensified(model)
    assert folded.keys() == names.keys() and all(torch.equal(folded[name], names[name]) for name in names)


def test_an_idle_group_has_no_weight_and_a_gradient(tmp_path: Path) -> None:
    model, _ = carving.carve(dense(), rows(), replace(SETTINGS, strength=0.3))
    distillation.densify(model)
    weights = model.layers[0].mlp.group_weights(torch.randn(5, 48).requires_grad_())

    assert ((weights > 0).sum(1) == 3).all() and torch.allclose(weights.sum(1), torch.tensor(3.0))
    assert model.layers[0].mlp.gate.weight.grad_fn is None and weights.grad_fn is not None


def test_distillation_brings_the_mixture_nearer_to_its_parent(tmp_path: Path) -> None:
    settings = replace(TRAINING, tokens=20 * 256, rate=0.03, learn="routers_and_norms", checkpoint_seconds=math.inf)
    one = trainer(tmp_path, settings)
    one.student.norm.weight.data *= 0.5
    matrices = {name: w.clone() for name, w in one.student.state_dict().items() if name.endswith("_proj")}
    found: list[dict[str, float]] = []
    one.run(found.append)

    assert found[-2]["hidden"] < 0.9 * found[0]["hidden"]  # of texts of the same length
    assert all(torch.equal(one.student.state_dict()[name], weight) for name, weight in matrices.items())


@pytest.mark.parametrize("round_after", [2.0, 0.5])
def test_a_distillation_that_was_stopped_goes_on_as_if_it_was_not(tmp_path: Path, round_after: float) -> None:
    settings = replace(TRAINING, round_after=round_after)
    whole = trainer(tmp_path / "whole", settings)
    whole.run(lambda numbers: None)

    class Stop(Exception):
        pass

    def stop(numbers: dict[str, float]) -> None:
        if numbers["step"] == 5:
            raise Stop

    with pytest.raises(Stop):
        trainer(tmp_path / "parts", settings).run(stop)
    rest = trainer(tmp_path / "parts", settings)
    rest.run(lambda numbers: None)

    assert rest.step == whole.step == 6
    for name, weight in distillation.undensified(whole.student).items():
        assert torch.equal(weight, distillation.undensified(rest.student)[name]), name


def test_other_settings_or_too_little_text_are_refused(tmp_path: Path) -> None:
    trainer(tmp_path).run(lambda numbers: None)
    with pytest.raises(InputError, match="other settings"):
        trainer(tmp_path, replace(TRAINING, rate=0.5)).run(lambda numbers: None)
    with pytest.raises(InputError, match="texts have 100 tokens"):
        trainer(tmp_path / "new", replace(TRAINING, lengths=(100,), batch=200))
    with pytest.raises(InputError, match="no text to learn from"):
        distillation.tokenized(tiny_tokenizer(), [])


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainer(tmp_path)
    one.run(lambda numbers: None)
    kept = (tmp_path / distillation.CHECKPOINT).read_bytes()

    def full(tensors: object, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(distillation, "save_file", full)
    with pytest.raises(ResourceError, match="The disk is full"):
        one.save()
    assert (tmp_path / distillation.CHECKPOINT).read_bytes() == kept and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damaged", [b"", b"no", None])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damaged: bytes | None) -> None:
    trainer(tmp_path).run(lambda numbers: None)
    path = tmp_path / distillation.CHECKPOINT
    path.write_bytes(path.read_bytes()[:-7] if damaged is None else damaged)
    with pytest.raises(InputError, match="is damaged"):
        trainer(tmp_path).run(lambda numbers: None)


def test_from_a_dense_folder_to_a_mixture_that_learned(tmp_path: Path) -> None:
    source, mixture = tmp_path / "dense", tmp_path / "mixture"
    dense().save_pretrained(source)
    tiny_tokenizer().save_pretrained(source)
    sentences = [
        f"Space probes orbit distant planets {i} and the farmer sleeps while the goalie scores" for i in range(60)
    ]

    report = carved.carve_checkpoint(source, mixture, sentences, SETTINGS, tokens=1000, vocabulary=320)
    assert report["settings"]["groups"] == 6 and 0 < report["pooled_cosine"] <= 1
    learned = carved.distil_checkpoint(mixture, source, tmp_path / "learned", sentences, TRAINING)
    assert learned["steps"] == 6 and sorted(path.name for path in tmp_path.iterdir()) == ["dense", "learned", "mixture"]

    encoder = MoEEncoder.from_pretrained(tmp_path / "learned", dtype="float32", prompt="none", pooling="mean")
    assert encoder.encode(sentences[:2]).router_logits.shape[0] == 2
    with pytest.raises(InputError, match="exists already"):
        carved.carve_checkpoint(source, mixture, sentences, SETTINGS)
    with pytest.raises(InputError, match="exists already"):
        carved.distil_checkpoint(mixture, source, mixture, sentences, TRAINING)


def test_only_what_distillation_computes_is_distilled(tmp_path: Path) -> None:
    donor = dense(hidden_act="gelu")
    donor.save_pretrained(tmp_path / "dense")
    tiny_tokenizer().save_pretrained(tmp_path / "dense")
    text = ["Space probes orbit distant planets and the farmer sleeps while the goalie scores"] * 60
    carved.carve_checkpoint(tmp_path / "dense", tmp_path / "mixture", text, SETTINGS, tokens=1000)
    with pytest.raises(ModelError, match="have gelu"):
        carved.distil_checkpoint(tmp_path / "mixture", tmp_path / "dense", tmp_path / "new", text, TRAINING)


def test_a_compact_folder_loads_as_what_was_rounded(tmp_path: Path) -> None:
    model, _ = carving.carve(dense(), rows(), CarveSettings(groups=2, group_size=24, active=1))
    compact.save_compact(model, tmp_path / "compact", tiny_tokenizer())
    texts = ["Space probes orbit planets", "the goalie saves the puck and the court heard"]
    for dtype in ("bfloat16", "float32"):
        encoder = MoEEncoder.from_pretrained(tmp_path / "compact", dtype=dtype, prompt="none", pooling="mean")
        together, alone = encoder.encode(texts), encoder.encode(texts[1])
        np.testing.assert_allclose(together.hidden_states[1], alone.hidden_states[0], atol=2e-5)

    for name, weight in model.state_dict().items():
        rounded = weight.dim() >= 2 and not name.endswith("gate.weight") and "embed" not in name
        wanted = fourbit.rounded(weight, fourbit.block_scales(weight)) if rounded else weight
        assert (encoder.model.state_dict()[name] - wanted).abs().max() < (1e-6 if rounded else 0.01), name


def test_a_compact_folder_that_is_broken_or_in_the_way_is_refused(tmp_path: Path) -> None:
    model, _ = carving.carve(dense(), rows(), CarveSettings(groups=2, group_size=24, active=1))
    compact.save_compact(model, tmp_path / "compact", tiny_tokenizer())
    with pytest.raises(InputError, match="exists already"):
        compact.save_compact(model, tmp_path / "compact", tiny_tokenizer())
    path = next((tmp_path / "compact").glob("*.safetensors"))
    stored = load_file(path)
    name = next(name for name in stored if name.endswith(".scales"))
    for scales in ({}, {name: stored[name].reshape(-1)[:-1]}):
        save_file(
            {key: value for key, value in stored.items() if key != name} | scales, path, metadata={"format": "pt"}
        )
        with pytest.raises(ModelError, match="damaged"):
            MoEEncoder.from_pretrained(tmp_path / "compact")
    path.write_bytes(b"broken")
    with pytest.raises(ModelError, match="damaged"):
        MoEEncoder.from_pretrained(tmp_path / "compact")
