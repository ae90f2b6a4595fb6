"""The training scripts of the pocket model: its optimizer, its fast pass, and resuming."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import OlmoeConfig, OlmoeForCausalLM

ROOT = Path(__file__).parent.parent
if not (ROOT / "pocket").is_dir():
    pytest.skip("the training scripts are not installed with the package", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from pocket import fast, muon, prepare, train  # noqa: E402

SHAPE = train.Shape(layers=2, experts=4, top_k=2, hidden=64, expert_width=64)
TEXTS = [f"the {a} {b} sat near a {c}, and {a} again" for a in "abcd" for b in "efgh" for c in "klmn"] * 4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tokenizer = prepare.train_tokenizer(TEXTS, 320)
    tokenizer.save_pretrained(folder / "tokenizer")
    rows = prepare.pack(prepare.encode(tokenizer, TEXTS, 10**6), 32, np.random.default_rng(0))
    np.save(folder / "train.npy", rows[8:])
    np.save(folder / "held_out.npy", rows[:8])
    (folder / "meta.json").write_text(json.dumps({"length": 32}))
    return folder


def trainer(data: Path, work: Path, steps: int) -> train.Trainer:
    plan = train.Plan(tokens=32 * 8 * 3, steps=steps, batch=8, warm_up=0.0, sampled=200, full_from=0.5)
    return train.Trainer(data, work, SHAPE, plan, compiled=False)


def tiny_model() -> OlmoeForCausalLM:
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,
        num_experts=4,
        num_experts_per_tok=2,
        norm_topk_prob=True,
        tie_word_embeddings=True,
        pad_token_id=None,
        eos_token_id=0,
    )
    return OlmoeForCausalLM(config)


@pytest.mark.parametrize("shape", [(3, 16, 64), (2, 64, 16), (1, 32, 32)])
def test_muon_orthogonalises(shape: tuple[int, int, int]) -> None:
    singular = torch.linalg.svdvals(muon.orthogonalise(torch.randn(shape)).float())
    assert singular.min() > 0.3
    assert singular.max() < 1.4


def test_fast_pass_equals_transformers() -> None:
    model, rows = tiny_model(), torch.randint(0, 320, (3, 33))
    logits = model(rows[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
    expected.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    found = fast.losses(model, rows, chunk=32).language
    found.backward()
    torch.testing.assert_close(found, expected)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-6, msg=name)


def test_sampled_softmax_is_close_to_the_whole() -> None:
    model, rows = tiny_model(), torch.randint(0, 40, (3, 33))
    whole, part = fast.losses(model, rows).language, fast.losses(model, rows, (200, 1)).language
    assert abs(whole.item() - part.item()) < 0.05


def test_a_resumed_run_ends_with_the_same_weights(data: Path, tmp_path: Path) -> None:
    once = trainer(data, tmp_path / "once", 3)
    once.run()
    trainer(data, tmp_path / "twice", 1).run()
    resumed = trainer(data, tmp_path / "twice", 3)
    assert resumed.steps == 1
    resumed.run()
    pairs = zip(once.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_an_export_loads_by_path_and_has_no_bos(data: Path, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    trainer(data, tmp_path / "work", 1).export(tmp_path / "out")
    model, tokenizer = AutoModel.from_pretrained(tmp_path / "out"), AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer("the a e sat").input_ids
    assert ids[0] != tokenizer.eos_token_id
    assert tokenizer.decode(ids) == "the a e sat"
    assert model(torch.tensor([ids])).last_hidden_state.shape == (1, len(ids), 64)


def test_evaluation_texts_stay_out() -> None:
    title, body = "A title that is long enough to be told apart", "A body that is long enough to be told apart as well."
    forbidden = {prepare.normalised_hash(body)}
    assert prepare.is_forbidden(f"{title}\n{body.upper()}", forbidden)
    assert not prepare.is_forbidden(f"{title}\nanother body, which is in no evaluation set at all", forbidden)
