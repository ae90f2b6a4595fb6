"""mteb's encoder protocol over stored embeddings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scoring_doubles import HashEncoder

from moee_topics.embed import Embedder
from moee_topics.errors import InputError
from moee_topics.fuse import METHODS, BatchFusion, Fusion, find_method
from moee_topics.mteb.fusion_encoder import MTEBEncoder, reference_router

mteb = pytest.importorskip("mteb")
BIOSSES = Path(__file__).parents[2] / "../shared/data/biosses/data.jsonl.gz"


def batches(texts: Sequence[str], size: int = 3) -> list[dict[str, Any]]:
    return [{"text": list(texts[i : i + size])} for i in range(0, len(texts), size)]


def encode(encoder: MTEBEncoder, texts: Sequence[str], size: int = 3) -> np.ndarray:
    return encoder.encode(batches(texts, size), task_metadata=None, hf_split="test", hf_subset="default")


TEXTS = [f"text number {i}" for i in range(8)]


def cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


@pytest.mark.parametrize("method", METHODS)
def test_an_encoder_satisfies_mtebs_protocol(method: Any) -> None:
    encoder = MTEBEncoder(Embedder.of(HashEncoder()), Fusion(method, standardize="none"))
    assert isinstance(encoder, mteb.models.EncoderProtocol)
    assert not isinstance(encoder, mteb.models.SearchProtocol)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 2.5])
def test_the_similarity_of_the_sum_is_the_papers_on_real_pairs(tmp_path: Path, alpha: float) -> None:
    if not BIOSSES.is_file():
        pytest.skip("shared/data/biosses is not here")
    import gzip

    rows = [json.loads(line) for line in gzip.decompress(BIOSSES.read_bytes()).decode().splitlines()]
    embedder = Embedder.of(HashEncoder(), tmp_path)
    vectors = {}
    for method in ("hidden_states", "routing_weights", "weighted_sum"):
        encoder = MTEBEncoder(embedder, Fusion(method, alpha, "none"))  # type: ignore[arg-type]
        vectors[method] = [encode(encoder, [row[side] for row in rows]) for side in ("sentence1", "sentence2")]
    hidden, routing, summed = (cosines(*vectors[m]) for m in ("hidden_states", "routing_weights", "weighted_sum"))
    np.testing.assert_allclose(summed, (hidden + alpha * routing) / (1 + alpha), atol=1e-5)
    pairwise = MTEBEncoder(embedder, Fusion("weighted_sum", alpha, "none")).similarity_pairwise(
        *vectors["weighted_sum"]
    )
    np.testing.assert_allclose(np.asarray(pairwise), summed, atol=1e-5)


def test_a_text_is_encoded_once_across_methods_alphas_and_runs(tmp_path: Path) -> None:
    double = HashEncoder()
    for method in METHODS:
        for alpha in (0.2, 1.0):
            encode(MTEBEncoder(Embedder.of(double, tmp_path), Fusion(method, alpha, "none")), [*TEXTS, *TEXTS[:3]])  # type: ignore[arg-type]
    assert sorted(double.seen) == sorted(TEXTS)


def test_a_stored_text_needs_no_model(tmp_path: Path) -> None:
    double = HashEncoder()
    first = encode(MTEBEncoder(Embedder.of(double, tmp_path), Fusion("concat", standardize="none")), TEXTS)

    def no_model() -> HashEncoder:
        raise AssertionError("the model was loaded")

    again = MTEBEncoder(Embedder(no_model, tmp_path, key=double.spec.key()), Fusion("concat", standardize="none"))
    np.testing.assert_array_equal(encode(again, TEXTS), first)


def test_the_vector_does_not_depend_on_the_batch_except_in_the_reference_mode() -> None:
    embedder = Embedder.of(HashEncoder())
    for fusion in (Fusion(standardize="none"), Fusion("concat").fit(embedder.blocks(TEXTS))):
        encoder = MTEBEncoder(embedder, fusion, statistics="these texts")
        np.testing.assert_array_equal(encode(encoder, TEXTS, 3), encode(encoder, TEXTS, 8))
    reference = MTEBEncoder(embedder, BatchFusion("concat"))
    assert np.abs(encode(reference, TEXTS, 3) - encode(reference, TEXTS, 8)).max() > 0.1


def test_the_reference_takes_the_softmax_for_deepseek_alone() -> None:
    assert reference_router("deepseek-ai/deepseek-moe-16b-base") == "softmax"
    assert reference_router("allenai/OLMoE-1B-7B-0924") == reference_router("Qwen/Qwen1.5-MoE-A2.7B") == "logits"


def test_no_two_fusions_share_a_folder_of_results(tmp_path: Path) -> None:
    blocks, wordy = list(Embedder.of(HashEncoder()).blocks(TEXTS)), [f"cat {i}, dog{i // 3}" for i in range(9)]
    fusions = {
        Fusion(method, alpha, standardize, lexical).canonical()  # type: ignore[arg-type]
        for method in METHODS
        for alpha in (0.5, 1.0)
        for standardize in ("none", "routing_weights", "both")
        for lexical in (0.0, 1.0)
    }
    batch_fusions = {BatchFusion("concat"), BatchFusion("routing_weights")}
    cache = mteb.ResultCache(tmp_path)
    paths = set()
    for key in ({"model": "a/b", "revision": "1", "prompt": "x"}, {"model": "a/b", "revision": "1", "prompt": "y"}):
        embedder = Embedder(HashEncoder, key=key)
        for corpus in ("one", "two"):
            fitted = [fusion.fit(blocks, wordy) for fusion in fusions]
            for fusion in (*fitted, *batch_fusions):
                encoder = MTEBEncoder(embedder, fusion, statistics=corpus)
                paths.add(cache.get_task_result_path("T", encoder.mteb_model_meta))
    by_statistics = [fusion for fusion in fusions if fusion.learns]
    assert len(paths) == 2 * (len(fusions) + len(by_statistics) + 2 * len(batch_fusions))


@pytest.mark.parametrize(
    ("name", "method"), [("HS", "hidden_states"), ("rw", "routing_weights"), (" Sum ", "weighted_sum")]
)
def test_the_papers_names_are_understood(name: str, method: str) -> None:
    assert find_method(name) == method


def test_a_wrong_method_or_missing_statistics_is_named() -> None:
    with pytest.raises(InputError, match=r"hidden_states \(HS\).* weighted_sum \(sum\)"):
        find_method("mean")
    with pytest.raises(InputError, match="learns from a corpus"):
        MTEBEncoder(Embedder.of(HashEncoder()), Fusion("concat"))


@pytest.mark.slow
@pytest.mark.parametrize("method", ("weighted_sum", "concat"))
def test_every_text_task_of_mteb_runs(method: Any, tmp_path: Path) -> None:
    results = mteb.mock_run(MTEBEncoder(Embedder.of(HashEncoder(), tmp_path), Fusion(method, 0.5, "none")))
    ran = [name for name, status in results.items() if status is not None]
    assert results.all_passed, results.to_markdown()
    assert len(ran) >= 28


def test_the_metadata_loads_the_encoder_it_describes() -> None:
    from moee_topics.mteb.fusion_encoder import load_mteb_encoder

    encoder = load_mteb_encoder("pocket", fusion=Fusion("concat", standardize="none"))
    again = encoder.mteb_model_meta.load_model()
    assert again.mteb_model_meta.experiment_kwargs == encoder.mteb_model_meta.experiment_kwargs
    with pytest.raises(InputError, match="precision='int8' is not made here"):
        again.encode([{"text": ["a"]}], task_metadata=None, hf_split="", hf_subset="", precision="int8")
