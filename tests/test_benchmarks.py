"""The benchmark at tiny width: what it counts, what its result holds, and that the variants agree."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bag_of_words import themed_corpus
from carved_models import SETTINGS, save_donor
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer
from vllm_doubles import engines, install

from benchmarks import (
    advice,
    bench,
    checkpoint,
    controls,
    drift,
    gpu,
    llama,
    scale,
    summary,
    updates,
    variants,
    vllm_peer,
    workers,
)
from benchmarks.bench import Settings
from benchmarks.checkpoint import Shape
from benchmarks.summary import Call, Measured
from benchmarks.workers import Loaded, Round
from moee_topics.encode import MoEEncoder, carve_checkpoint
from moee_topics.encode.models import quantizer
from moee_topics.topics import Topic, TopicResult

TINY = Shape(layers=2, hidden=64, intermediate=64, experts=8, top_k=2, heads=2, vocabulary=128)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.write_checkpoint(tmp_path_factory.mktemp("olmoe"), TINY)


def test_the_shape_counts_the_weights_of_the_model(folder: Path) -> None:
    model = AutoModel.from_pretrained(folder)
    assert TINY.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_the_default_shape_is_the_published_model() -> None:
    assert round(Shape().parameters / 1e9, 2) == 6.82


def test_flops_are_two_per_active_weight_and_token_plus_attention() -> None:
    active = 2 * (4 * 64 * 64 + 2 * 3 * 64 * 64 + 8 * 64)
    seen = 3 * 4 // 2
    assert TINY.flops([3]) == 2 * active * 3 + 2 * 4 * seen * 64
    assert TINY.flops([3, 5]) == TINY.flops([3]) + TINY.flops([5])


def test_each_word_is_one_token_and_the_prompt_is_known(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (text,) = checkpoint.texts_of([7], TINY.vocabulary)
    empty = tokenizer(variants.PROMPT.format(text=""))["input_ids"]
    ids = tokenizer(variants.PROMPT.format(text=text))["input_ids"]
    assert len(ids) == len(empty) + 7 or len(ids) == len(empty) + 8  # `""` is one piece, the quotes around a word two
    assert tokenizer.unk_token_id not in ids


def test_lengths_follow_the_quantiles_and_are_cut() -> None:
    lengths = checkpoint.document_lengths(200, longest=500)
    quantiles = json.loads(checkpoint.LENGTHS.read_text(encoding="utf-8"))["quantiles"]
    assert abs(np.median(lengths) - quantiles[100]) <= 2
    assert max(lengths) == 500
    assert lengths == checkpoint.document_lengths(200, longest=500)
    assert lengths != sorted(lengths)


@pytest.mark.parametrize("name", variants.NAMES)
def test_every_variant_gives_nearly_the_exact_vectors(folder: Path, name: str) -> None:
    if reason := variants.lacking(name, "cpu"):
        pytest.skip(reason)
    texts = checkpoint.texts_of([5, 40, 0, 17, 3], TINY.vocabulary)
    exact = variants.load(variants.EXACT, folder, "cpu").encode(texts)
    way = variants.load(name, folder, "cpu")
    found = way.encode(texts)
    least = 0.97 if name in ("nf4", "llama.cpp Q4_K_M") else 0.999
    assert all(value > least for value in summary.agreement(found, exact).values())
    assert variants.arithmetic(name, way.note) in ("float32", "bfloat16", "int8")
    assert found.hidden_states.shape == (5, 64)
    if name == "w8a8":  # a byte for each weight of a product, which is packed and no parameter
        assert TINY.parameters < workers.tensor_bytes(way.model) < 2 * TINY.parameters
    if found.router_logits is not None:
        assert found.router_logits.shape == (5, 2, 8)


def test_a_run_writes_json_table_and_plot(folder: Path, tmp_path: Path) -> None:
    settings = Settings(documents=(2, 6), words=5, threads=1, variants=("reference", "fp32", "nf4"))
    steps: list[dict[str, Any]] = []
    result = bench.run(settings, TINY, folder, steps.append)
    bench.write(result, tmp_path, "tiny")
    saved = json.loads((tmp_path / "tiny.json").read_text(encoding="utf-8"))
    reference, nf4 = saved["variants"]["reference"], saved["variants"]["nf4"]
    assert list(reference["calls"]) == ["2 documents", "6 documents", "5 words"]
    assert all(call["speed_up_over"] == {"reference": 1.0} for call in reference["calls"].values())
    assert nf4["agreement_with_fp32"]["hidden_states_mean"] > 0.97
    assert saved["variants"]["fp32"]["agreement_with_fp32"]["hidden_states_smallest"] > 0.99999
    assert saved["variants"]["fp32"]["agreement_with_fp32"]["documents"] == 6
    assert nf4["loading"]["tensor_bytes"] < reference["loading"]["tensor_bytes"]
    assert len(nf4["calls"]["5 words"]["rounds"]) == len(saved["ceilings"]["rounds"]) == 2
    assert all(rate > 0 for rate in saved["ceilings"]["flops_per_second"].values())
    assert saved["machine"]["device"] and saved["versions"]["torch"] == torch.__version__
    assert (tmp_path / "tiny.svg").stat().st_size > 1000
    assert (tmp_path / "tiny.md").read_text(encoding="utf-8").count("\n") == 5
    assert len(steps) == 2 * 3 * 3 and saved["finished"] and not any(step["finished"] for step in steps)
    assert list(steps[0]["variants"]["reference"]["calls"]) == ["2 documents"]
    assert summary.table(steps[0]).count("\n") == 5, "what a stopped run has kept can be read as a table too"


def test_a_start_after_a_stop_begins_anew_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(settings: Settings, shape: Shape, folder: Path, keep: Callable[[dict[str, Any]], None]) -> None:
        keep({"created": "a date", "finished": False})
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "run", stopped)
    monkeypatch.setattr(checkpoint, "write_checkpoint", lambda *_: None)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            bench.main(["--device", "cpu", "--output", str(tmp_path)])
        assert json.loads((tmp_path / "cpu-2-layers.unfinished.json").read_text())["created"] == "a date"
    assert capsys.readouterr().out.count("begins anew") == 1


class Slow:
    """A worker that takes a second for each token."""

    name = "slow"

    def __init__(self, call: Call) -> None:
        self.lengths = dict(zip(call.texts, call.lengths, strict=True))

    def encode(self, texts: list[str]) -> tuple[variants.Vectors, Round]:
        seconds = float(sum(self.lengths[text] for text in texts))
        return variants.Vectors(np.ones((len(texts), 4)), None), Round(seconds, 2 * seconds, 0)


def test_a_slow_way_reads_fewer_texts_of_all_lengths_and_no_round_beyond_its_budget() -> None:
    call = Call([f"text {row}" for row in range(9)], [5, 1, 9, 3, 7, 2, 8, 4, 6])
    settings = Settings(documents=(9,), budget=12.5, variants=("slow",))
    measured = {"slow": Measured(Loaded(0.0, 0, 0, 0), speed=1.0)}
    going = bench.Run(settings, TINY, {"9 documents": call}, "9 documents", [{"float32": 1.0}], measured)
    assert "(5 texts)" in bench.step(going, Slow(call), "9 documents")
    assert call.lengths_of(measured["slow"].rows["9 documents"]) == [5, 1, 9, 3, 7]
    assert bench.step(going, Slow(call), "9 documents") == ""
    cell = going.result(finished=True)["variants"]["slow"]["calls"]["9 documents"]
    assert (cell["texts"], cell["tokens"], len(cell["rounds"])) == (5, 25, 1)
    assert (cell["tokens_per_processor_second"], cell["tokens_per_wall_second"]) == (0.5, 1.0)


def test_no_way_has_to_cut_a_document() -> None:
    calls = bench.calls_of(Settings(documents=(64, 1), words=3), TINY)
    tokenizer = checkpoint.word_tokenizer(TINY.vocabulary)
    assert list(calls) == ["1 documents", "64 documents", "3 words"]
    sizes = [len(tokenizer(variants.PROMPT.format(text=text))["input_ids"]) for text in calls["64 documents"].texts]
    assert max(sizes) == variants.MAX_TOKENS and sizes == calls["64 documents"].lengths
    assert len(set(checkpoint.single_words(1000, checkpoint.WORDS))) == 1000, "a way may read equal texts once"


def test_a_peer_that_is_not_installed_is_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(llama, "lacking", lambda: "llama_cpp")
    assert bench.batches_that_fit(Settings(variants=("nf4", "llama.cpp Q8_0")), TINY) == [["nf4"]]
    assert capsys.readouterr().out == "left out llama.cpp Q8_0: llama_cpp is not installed\n"


def test_the_weights_of_a_checkpoint_have_the_names_and_shapes_of_llama_cpp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = pytest.importorskip("gguf")
    monkeypatch.setattr(checkpoint, "WORDS", 100)
    folder = checkpoint.write_checkpoint(tmp_path, TINY)
    fields = gguf.GGUFReader(llama.write_gguf(folder))
    shapes = {tensor.name: tensor.shape.tolist() for tensor in fields.tensors}
    assert shapes["blk.1.ffn_down_exps.weight"] == [64, 64, 8] and shapes["output.weight"] == [64, 100]
    assert len(shapes) == 3 + 2 * 12


def test_ratios_are_those_of_medians_and_of_tokens() -> None:
    call, loaded = Call(["a", "b"], [10, 30]), Loaded(0.0, 0, 0, 0, "none float32")
    reference, ours = (
        Measured(loaded, 1.0, {"call": rows}, {"call": [Round(s, 2 * s, 0) for s in seconds]})
        for rows, seconds in (([0, 1], [2.0, 8.0, 9.0]), ([1], [1.0, 2.0, 4.5]))
    )
    measured = {"reference": reference, "fp32": ours}
    found = summary.summary("fp32", measured, {"call": call}, TINY, {"float32": 1.0}, "wall")["calls"]["call"]
    assert found["tokens_per_wall_second"] == 2 * found["tokens_per_processor_second"] == 30 / 2
    assert found["speed_up_over"] == {"reference": (30 / 2) / (40 / 8)}, "by tokens, of which one read fewer"


def test_variants_that_do_not_fit_together_run_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, shape = Settings(variants=("reference", "nf4", "bf16")), replace(TINY, layers=16)
    needed = bench.WORKING_BYTES + 2 * bench.IDLE_BYTES
    monkeypatch.setattr(bench, "free_memory", lambda device: needed + 2.7 * shape.parameters)
    assert bench.batches_that_fit(settings, shape) == [["reference", "nf4"], ["bf16"]]
    monkeypatch.setattr(bench, "free_memory", lambda device: 4e10)
    assert bench.batches_that_fit(settings, shape) == [["reference", "nf4", "bf16"]]
    assert len(bench.batches_that_fit(replace(settings, one_at_a_time=True), shape)) == 3
    monkeypatch.setattr(bench, "free_memory", lambda device: bench.IDLE_BYTES + 1.9 * shape.parameters)
    assert bench.batches_that_fit(settings, shape) == [["nf4"]]


def test_memory_sees_what_was_allocated_and_freed() -> None:
    with workers.Memory("cpu") as memory:
        before = workers.anonymous_bytes()
        block = np.ones(40_000_000)
        del block
        # the block is gone, but whoever looked in between saw it
    assert memory.peak >= before


def test_of_an_update_the_share_that_keeps_its_id_is_told_beside_the_most_there_can_be() -> None:
    def result(topics: list[int], labels: str) -> TopicResult:
        numbers, size = np.array(topics), len(topics)
        info = [Topic(topic, int((numbers == topic).sum()), f"topic {topic}", []) for topic in set(topics)]
        nowhere, ids = np.zeros((size, 2), np.float32), [str(row) for row in range(size)]
        return TopicResult(ids, ids, numbers, np.ones(size, np.float32), nowhere, info, list(labels))

    before, after = result([0, 0, 1, 1, -1], "aabbb"), result([0, 2, 3, 3, 3, 3], "aabbba")
    assert updates.kept(before, after) == {"kept": 0.25, "kept_at_most": 0.75}
    assert updates.kept(before, before) == {"kept": 1.0, "kept_at_most": 1.0}
    best = updates.best_topic(after, "b", {2, 3})
    assert (best["topic"], best["precision"], best["recall"]) == (3, 0.75, 1.0)
    assert updates.best_topic(after, "b", set())["topic"] is None


def test_a_newsgroup_that_is_held_out_comes_in_the_last_slices_alone(tmp_path: Path) -> None:
    posts = [updates.Post(f"{group}/{at}", "text", group, at) for group in "ab" for at in range(updates.SLICES)]
    files = [Path(name).read_text() for name in updates.write_slices(posts, tmp_path, "b")]
    assert ['"b"' in text for text in files] == [False, False, False, True, True, True]
    assert len(files[-1].splitlines()) == updates.SLICES + 2


@pytest.mark.parametrize(
    ("arxiv_id", "month"),
    [
        ("hep-ph/0502154", "2005-02"),
        ("cond-mat/9912345", "1999-12"),
        ("1406.0938", "2014-06"),
        ("1802.0592800000002", "2018-02"),
        ("802.4098", "2008-02"),
    ],
)
def test_an_arxiv_id_says_year_and_month_though_it_became_a_number(arxiv_id: str, month: str) -> None:
    assert updates.month_of(arxiv_id) == month


def test_titles_come_by_month_in_slices_of_one_size_whatever_their_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"{year:02}01.{number:05}" for year in (10, 12, 14, 16, 18) for number in (1, 2)]
    rows = [{"id": name, "text": f"title {name}", "label_name": "ab"[at % 2]} for at, name in enumerate(ids)]
    (tmp_path / "archives.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)))
    monkeypatch.setattr(updates, "ARCHIVES", tmp_path / "archives.jsonl")
    titles = updates.read_titles(5)
    assert [title.id for title in titles] == ids
    assert [title.slice for title in titles] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert titles[-1] == updates.Post(ids[-1], f"title {ids[-1]}", "b", 4, "2018-01")


def test_posts_are_written_as_a_corpus_that_can_be_read(tmp_path: Path) -> None:
    posts = [updates.Post(f"a/{at}", f"text {at}", "a", at) for at in range(3)]
    lines = Path(drift.write_posts(posts, tmp_path / "all.jsonl")).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": one.id, "text": one.text, "label": "a"} for one in posts]


def test_the_documents_of_a_large_corpus_have_known_topics_of_very_different_sizes(tmp_path: Path) -> None:
    texts = [[" ".join(f"class{number}word{word}" for word in range(90))] for number in range(7)]
    scale.write_corpus(400, tmp_path, texts)
    scale.write_store(400, tmp_path)
    work = scale.workspace(tmp_path, 200)
    labels = scale.labels_of(400)
    counts = np.bincount(labels, minlength=scale.TOPICS)
    assert counts[:5].min() > 3 * counts[-50:].mean()
    documents = work.documents()
    assert [document.label for document in documents] == [f"topic {label}" for label in labels]
    assert all(
        document.text.startswith(f"class{label % 7}word") for document, label in zip(documents, labels, strict=True)
    )
    assert work.survey.unique == 400 and not work.missing()
    X = np.concatenate([block.hidden_states for block in work.embedder.stored_blocks(work.survey.hash_list())])
    X = X.astype(np.float32) - X.mean(axis=0, dtype=np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    cosines = X @ X.T
    same = labels[:, None] == labels[None]
    np.fill_diagonal(same, False)
    assert cosines[same].mean() > cosines[~same].mean() + 0.3, "each vector is one of its own topic"


def test_the_exponent_of_a_stage_is_the_slope_of_its_logarithm() -> None:
    sizes = {
        str(size): {
            "reduce": {"cpu_seconds": size / 100},
            "fit": {"cpu_seconds": size**1.5},
            "report": {"cpu_seconds": 2.0},
        }
        for size in (1000, 10_000, 100_000)
    }
    assert scale.slopes(sizes) == {"reduce": 1.0, "fit": 1.5, "report": 0.0}
    assert scale.slopes({"1000": sizes["1000"]}) == {}


def test_the_goals_are_of_all_stages_of_the_largest_size(tmp_path: Path) -> None:
    stage = {"cpu_seconds": 1300.0, "peak_bytes": 7_000_000_000}
    sizes = {size: dict.fromkeys(scale.MEASURED, stage) for size in ("900", "10000")}
    sizes["10000"] = {**sizes["10000"], "fit": {"cpu_seconds": 900.0, "peak_bytes": 9_000_000_000}}
    goals = scale.goals(sizes, {"reduce": 1.0, "fit": 1.1})
    assert {name: goal["found"] for name, goal in goals.items()} == {
        "peak_bytes": 9_000_000_000,
        "cpu_seconds": 3500.0,
        "slope": 1.1,
    }
    assert [goal["met"] for goal in goals.values()] == [False, True, True]
    (tmp_path / "peer_topica.json").write_text('{"topics": 3}')
    assert scale.peers(tmp_path) == {"topica": {"topics": 3}}


def test_the_peak_of_a_part_is_its_own() -> None:
    meter = scale.Meter()
    with meter.part("large"):
        assert np.ones(25_000_000).sum() == 25_000_000
    with meter.part("small"):
        pass
    assert meter.parts["large"]["peak_bytes"] > 150_000_000
    assert set(meter.parts) == {"large", "small"}


@pytest.fixture(scope="module")
def carved(tmp_path_factory: pytest.TempPathFactory) -> tuple[MoEEncoder, MoEEncoder]:
    """A tiny carved model and its dense parent."""
    home = tmp_path_factory.mktemp("carved")
    save_donor(home / "dense")
    texts = themed_corpus(per_theme=20, noise=0)[0]
    carve_checkpoint(str(home / "dense"), home / "mixture", texts, SETTINGS, tokens=1000)
    mixture, dense = (
        MoEEncoder.from_pretrained(
            home / name, require_routers=False, dtype="float32", prompt="none", pooling="mean", max_tokens=64
        )
        for name in ("mixture", "dense")
    )
    return mixture, dense


def test_controls_send_tokens_through_other_groups_and_leave_the_model_as_it_was(
    carved: tuple[MoEEncoder, MoEEncoder],
) -> None:
    encoder, dense = carved
    texts, mixtures = themed_corpus(per_theme=3, noise=0)[0], controls.mixtures_of(encoder)
    with controls.counted(mixtures) as counts:
        hidden, logits, _ = controls.vectors_of(encoder, texts)
    assert (counts.sum(1) == counts.sum(1)[0]).all() and counts.sum() % SETTINGS.active == 0
    choices = controls.controls_of(mixtures, counts)
    found = {}
    for name, chosen in {**choices, "as named": [lambda tokens, named: named] * len(mixtures)}.items():
        with controls.rerouted(mixtures, chosen):
            found[name] = controls.vectors_of(encoder, texts)
    np.testing.assert_allclose(found["as named"][0], hidden, atol=1e-5)
    np.testing.assert_allclose(found["as named"][1], logits, rtol=1e-4, atol=1e-3)
    # Every group at weight 1 is the dense feed-forward; the router's small strength weighs groups by 1 in 10,000.
    np.testing.assert_allclose(found["all"][0], dense.encode(texts).hidden_states, atol=1e-2)
    assert all(np.abs(found[name][0] - hidden).max() > 1e-2 for name in choices)
    np.testing.assert_array_equal(controls.vectors_of(encoder, texts)[0], hidden)


def test_the_oracle_takes_the_groups_whose_neurons_add_most(carved: tuple[MoEEncoder, MoEEncoder]) -> None:
    experts = controls.mixtures_of(carved[0])[0].experts
    tokens = torch.randn(5, 48, generator=torch.Generator().manual_seed(0))
    added = torch.zeros(5, SETTINGS.groups)
    for group in range(SETTINGS.groups):
        gate, up = (tokens @ part.T for part in experts.gate_up_proj[group].split(SETTINGS.group_size))
        for neuron in range(SETTINGS.group_size):
            activation = functional.silu(gate[:, neuron]) * up[:, neuron]
            added[:, group] += activation.abs() * experts.down_proj[group][:, neuron].norm()
    named = torch.zeros(5, 2, dtype=torch.long)
    chosen = controls.heaviest(experts)(tokens, named)
    assert chosen.sort(1).values.equal(added.argsort(1, descending=True)[:, :2].sort(1).values)


def test_tokens_out_of_context_are_what_texts_of_one_token_give(carved: tuple[MoEEncoder, MoEEncoder]) -> None:
    encoder, _ = carved
    alone = controls.routing_of_tokens(encoder)
    words = ["planet", "farmer"]
    ids = [sequence.ids for sequence in encoder.prompted[""].sequences(words, "truncate")]
    expected = np.stack([alone[list(tokens)].mean(0) for tokens in ids])
    np.testing.assert_allclose(controls.out_of_context(encoder, alone, words), expected, rtol=1e-5, atol=1e-4)
    (entry,) = encoder.spec.reading.entries
    (pack,) = controls.plan_packs([ids[0][:1]], 64, packed=encoder.packed)
    single = encoder.forward(pack, [entry])[entry].router_logits.reshape(-1)
    np.testing.assert_allclose(alone[ids[0][0]], single, rtol=1e-3, atol=1e-2)


def test_the_controls_of_a_set_are_scored_beside_its_words(carved: tuple[MoEEncoder, MoEEncoder]) -> None:
    texts, labels = themed_corpus(per_theme=12, noise=0)
    classes = np.unique(labels, return_inverse=True)[1]
    *_, scores = controls.measure(carved[0], {"themes": (texts, classes)}, seeds=1)
    assert {"words", "routing_z_shuffled", "static_hidden_z", "oracle_routing_z", "all_hidden_raw"} < set(
        scores["themes"]
    )
    assert scores["themes"]["words"]["ami"] > 50 > scores["themes"]["routing_z_shuffled"]["ami"]


@pytest.mark.slow
def test_every_step_of_the_benchmark_of_a_gpu_runs_where_there_is_none(tmp_path: Path) -> None:
    measured = gpu.Bench(TINY, torch.device("cpu"), documents=6)
    result = gpu.run(measured, tmp_path / "gpu.json", gpu.STEPS)
    assert json.loads((tmp_path / "gpu.json").read_text()).keys() == result.keys() == gpu.STEPS.keys()
    assert not [name for name, found in result.items() if "error" in found]
    packs = result["fused"][f"packs of {gpu.TOKENS_PER_BATCH[0]}"]
    assert packs["cosine"][1] > 0.999 and packs["alone_equal"] == [True] * len(packs["alone_equal"])


def test_a_step_that_fails_is_written_with_its_error_and_the_next_goes_on(tmp_path: Path) -> None:
    def fails(_: gpu.Bench) -> dict[str, object]:
        raise RuntimeError("out of memory")

    steps: dict[str, gpu.Step] = {"first": fails, "second": lambda _: {"value": 1}}
    result = gpu.run(gpu.Bench(TINY, torch.device("cpu"), 1), tmp_path / "gpu.json", steps)
    assert result["first"]["error"] == "RuntimeError: out of memory" and result["second"]["value"] == 1


def test_after_a_step_in_few_bits_that_fails_the_model_is_whole_again() -> None:
    bench = gpu.Bench(TINY, torch.device("cpu"), 1)
    with pytest.raises(TimeoutError), bench.rounded("nf4"):
        assert quantizer.measure(bench.model).bytes_per_expert_weight < 1
        raise TimeoutError("stopped after 90 s")
    assert quantizer.measure(bench.model).bytes_per_expert_weight == 2


def test_kernels_are_told_apart_by_their_names() -> None:
    assert gpu.group_of("nvjet_sm90_tst_256x128_64x4") == "other products"
    assert gpu.group_of("_add_up") == "sums of experts"
    assert gpu.group_of("what nobody knows") == "other"


def test_vllm_is_given_the_same_weights_and_pools_the_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    monkeypatch.setattr(vllm_peer, "version", lambda _: "0.26.0")
    steps = vllm_peer.steps_with([16384])
    measured = {name: steps[name] for name in ("surroundings", "former", "vllm, passes of 16384")}
    bench = gpu.Bench(TINY, torch.device("cpu"), 8)
    result = gpu.run(bench, tmp_path / "vllm.json", measured)
    assert max(bench.lengths) == variants.MAX_TOKENS, "the double ends with no document as long as max_model_len"
    found = result["vllm, passes of 16384"]
    assert found["version"] == "0.26.0" and {*found} == {"version", "token ids", "texts", "step_seconds"}
    assert min(found["token ids"]["cosine"] + found["texts"]["cosine"]) > 0.999
    options = engines[-1].options
    assert options["max_num_batched_tokens"] == 16384 and options["enforce_eager"]
    assert not engines[-1].lacking and engines[-1].closed


def test_several_sizes_of_vllms_passes_end_with_a_compiled_engine() -> None:
    ours = ["surroundings", "ceilings", "former", "fused", "transformers"]
    assert [*vllm_peer.steps_with([512])] == [*ours, "vllm, passes of 512"]
    both = ["vllm, passes of 512", "vllm, passes of 1024", "vllm compiled, passes of 512"]
    assert [*vllm_peer.steps_with([512, 1024])] == [*ours, *both]


def test_where_vllm_is_not_installed_its_benchmark_says_what_runs_without_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vllm_peer"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="2"):
        vllm_peer.main()
    assert "vllm is not installed here; what runs without it is `python -m benchmarks.gpu`" in capsys.readouterr().err


def test_new_documents_of_a_drawn_case_have_its_share_of_strangers_and_tell_how_old_topics_fit_them() -> None:
    labels, topics = np.array(list("aaabbb" + "aabbcc")), np.array([0, 0, 0, 1, 1, -1, 0, 1, 1, 1, 0, -1])
    weights = np.random.default_rng(0).dirichlet(np.ones(4), size=(12, 2)).astype(np.float16)
    fitted = advice.Fitted(topics, labels, weights, np.isin(labels, ["c"]), fitted=6, X=np.zeros((6, 2), np.float32))
    assert fitted.at_home[6:].tolist() == [True, False, True, True, False, False]
    drawn = list(advice.draws_of(fitted, 0.5, labels == "c", size=4, groups=2))
    assert len(drawn) == advice.DRAWS and {one["far"] for one in drawn} == {0.5}
    assert {one["at_home"] for one in drawn} == {0.25, 0.5}, "one or both of the two that are no strangers"
    row = advice.row_of("half of c", iter(drawn))
    assert row["case"] == "half of c" and row["far"] == [0.5, 0.5, 0.5]


def test_advice_on_documents_that_have_not_drifted_is_counted_and_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    topics = np.repeat([0, 1], 100)
    X = (np.eye(6, dtype=np.float32)[topics] + rng.normal(0, 0.3, (200, 6))).astype(np.float32)
    weights = rng.dirichlet(np.ones(4), size=(200, 2)).astype(np.float16)
    fitted = advice.Fitted(topics, topics.astype(str), weights, np.zeros(200, dtype=bool), fitted=200, X=X)
    monkeypatch.setattr(advice, "UNDRIFTED_DRAWS", 4)
    told = advice.advised_without_drift(fitted, 40)
    assert (told["new"], told["draws"], told["none"] + told["grow"] + told["refit"]) == (40, 4, 4)
    assert told["none"] >= 3 and told["refit"] == 0
