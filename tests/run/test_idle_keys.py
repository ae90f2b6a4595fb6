"""A key that does nothing is said, one that does something is not; every key of a recipe is one of these kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call
from tiny_runs import Heard, recipe_of, write_corpus

from moee_topics import run as pipeline
from moee_topics.corpus import CorpusSettings
from moee_topics.recipe import Recipe, load_recipe, parse_recipe
from moee_topics.run.idle_keys import NEEDS, idle_in_prediction, idle_keys, idle_overrides
from moee_topics.schema import known_keys, section_types

# Each key with a value, where that does nothing, and where it does something.
CSV, TXT, FOLDER, HUB = "corpus.source=a.csv", "corpus.source=a.txt", "corpus.source=folder", "corpus.source=hub:x"
NEWS, CODE, PARQUET = "corpus.source=20newsgroups", "corpus.source=docstrings", "corpus.source=a.parquet"
OUTLIERS = "topics.outliers={strategy: embeddings}"
ASKED = "provider: openai, model: m, base_url: http://localhost/v1"
ENDPOINT = f"labels={{{ASKED}}}"
IDLE: dict[str, tuple[str, str, str]] = {
    "corpus.id": ("none", NEWS, CSV),
    "corpus.delimiter": (";", "corpus.source=a.jsonl", CSV),
    "corpus.quoting": ("none", FOLDER, "corpus.source=a.tsv"),
    "corpus.encoding": ("cp1252", CODE, PARQUET),
    "corpus.decoding_errors": ("replace", NEWS, PARQUET),
    "corpus.missing": ("[x]", TXT, FOLDER),
    "corpus.pattern": ("*.md", CSV, FOLDER),
    "corpus.subset": ("test", CSV, NEWS),
    "corpus.remove": ("[]", CODE, NEWS),
    "corpus.data_home": ("x", HUB, NEWS),
    "corpus.packages": ("[scipy]", CSV, CODE),
    "corpus.per_package": ("3", NEWS, CODE),
    "corpus.query": ("SELECT 1", CSV, "corpus.source=sqlite:///a.db"),
    "corpus.split": ("test", FOLDER, HUB),
    "corpus.config": ("de", "corpus.source=-", HUB),
    "encoder.combine_prompts": ("concat", "encoder.prompts=[tone]", "encoder.prompts=[tone, style]"),
    "fusion.alpha": ("2", "fusion.method=hidden_states", "fusion.method=weighted_sum"),
    "fusion.standardize": ("routing_weights", "fusion.method=hidden_states", "fusion.method=concat"),
    "fusion.routing.scores": ("logits", "fusion.method=hidden_states", "fusion.method=concat"),
    "fusion.routing.experts": ("idf", "fusion.method=hidden_states", "fusion.method=routing_weights"),
    "fusion.routing.layers": ("information", "fusion.method=hidden_states", "fusion.method=concat"),
    "fusion.routing.top_k": ("2", "fusion.method=concat", "fusion={method: concat, routing: {scores: multi_hot}}"),
    "topics.stop_words": ("de", "vectorizer.stop_words=english", "seed=1"),
    "topics.zeroshot_min_similarity": ("0.9", "seed=1", "topics.zeroshot_topic_list=[a b]"),
    "topics.outliers.threshold": ("0.5", f"{OUTLIERS[:-1]}, target_share: 0.1}}", OUTLIERS),
    "topics.time_bins": ("5", "topics.over_time=false", "seed=1"),
    "labels.model": ("m", "seed=1", ENDPOINT),
    "labels.documents": ("2", "labels.check=embedding", "labels.provider=local"),
    "labels.characters": ("90", "seed=1", "labels.provider=local"),
    "labels.device": ("cpu", "seed=1", "labels.provider=local"),
    "labels.base_url": ("http://localhost/v2", "seed=1", ENDPOINT),
    "labels.seconds": ("5", "seed=1", ENDPOINT),
    "labels.attempts": ("5", "seed=1", ENDPOINT),
    "report.map_documents": ("5", "report.html=false", "seed=1"),
}

# Refused where they would do nothing: by the corpus (columns of what has none, a commit of a folder), by the schema.
REFUSED = {
    *("corpus.text", "corpus.label", "corpus.timestamp", "corpus.time_format", "encoder.revision", "topics.tokenizer"),
    *("umap.metric_kwds", "umap.dens_lambda", "umap.dens_frac", "umap.dens_var_shift", "hdbscan.alpha"),
    *("hdbscan.max_cluster_size", "hdbscan.cluster_selection_epsilon_max", "hdbscan.approx_min_span_tree"),
    *("hdbscan.core_dist_n_jobs", "vectorizer.token_pattern", "vectorizer.stop_words", "vectorizer.analyzer"),
    *("vectorizer.min_df", "vectorizer.max_df", "vectorizer.max_features", "ctfidf.seed_multiplier"),
    *("bertopic.top_n_words", "topics.outliers.strategy", "cluster.clusters"),
    *("labels.check.model", "labels.check.base_url", "labels.check.device", "labels.check.seconds"),
    *("labels.check.attempts", "labels.check.characters"),
}
ALWAYS = {
    *("corpus.source", "corpus.clean", "corpus.limit", "scores", "seed", "stability.seeds", "stability.bootstraps"),
    *(
        f"encoder.{name}"
        for name in ["model", "quantize", "dtype", "device", "prompt", "pooling", "max_tokens", "long_documents"]
    ),
    *("encoder.tokens_per_batch", "encoder.states", "encoder.layers", "encoder.routing", "encoder.reroute"),
    "encoder.prompts",
    *("labels.provider", "labels.check", "labels.check.provider", "labels.check.documents", "labels.check.seed"),
    *("reduce.dimensions", "large.documents", "large.sample", "cluster.method", "cluster.reducer"),
    *(
        "fusion.method",
        "fusion.lexical",
        "fusion.filters",
        "fusion.routing",
        "report.html",
        "topics.outliers",
        "topics.outliers.target_share",
    ),
    *(
        f"topics.{name}"
        for name in ["representation", "nr_topics", "seed_topic_list", "zeroshot_topic_list", "hierarchy"]
    ),
    *("topics.over_time", "topics.per_class", "topics.experts"),
    *(
        f"umap.{name}"
        for name in ["n_neighbors", "n_components", "metric", "n_epochs", "learning_rate", "init", "min_dist"]
    ),
    *("umap.spread", "umap.low_memory", "umap.set_op_mix_ratio", "umap.local_connectivity", "umap.densmap"),
    *("umap.repulsion_strength", "umap.negative_sample_rate", "umap.angular_rp_forest"),
    "umap.force_approximation_algorithm",
    *("hdbscan.min_cluster_size", "hdbscan.min_samples", "hdbscan.cluster_selection_epsilon", "hdbscan.metric"),
    *("hdbscan.cluster_selection_persistence", "hdbscan.cluster_selection_method", "hdbscan.allow_single_cluster"),
    *("hdbscan.algorithm", "hdbscan.leaf_size", "hdbscan.match_reference_implementation"),
    *("vectorizer.ngram_range", "vectorizer.lowercase", "vectorizer.strip_accents", "vectorizer.vocabulary"),
    "vectorizer.binary",
    *("ctfidf.bm25_weighting", "ctfidf.reduce_frequent_words", "ctfidf.seed_words"),
    *("bertopic.language", "bertopic.calculate_probabilities"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("a.csv", "a.tsv", "a.jsonl", "a.txt", "a.parquet"):
        (tmp_path / name).write_bytes(b"")


def test_every_key_of_a_recipe_is_noted_refused_or_never_idle() -> None:
    sections = section_types(Recipe)
    leaves = {key for key in known_keys(Recipe) if key not in sections or not section_types(sections[key])}
    assert set(IDLE) == {key for need in NEEDS for key in need.keys}
    assert set(IDLE) | REFUSED | ALWAYS == leaves
    assert len(IDLE) + len(REFUSED) + len(ALWAYS) == len(leaves)


@pytest.mark.parametrize("key", IDLE)
def test_a_key_is_noted_where_it_does_nothing_and_nowhere_else(key: str, here: None) -> None:
    value, idle, busy = IDLE[key]

    def noted(context: str) -> dict[str, str]:
        return idle_keys(parse_recipe({"corpus": {"source": "a.csv"}}, [context, f"{key}={value}"]))

    assert key in noted(idle) and key not in noted(busy)


def test_a_recipe_of_defaults_has_no_note(here: None) -> None:
    for source in ("a.csv", "a.txt", "folder", "docstrings", "20newsgroups", "hub:x", "-", "nowhere.csv"):
        assert idle_keys(parse_recipe({"corpus": {"source": source}})) == {}
    for name in ("quickstart", "20newsgroups", "20newsgroups-pocket"):
        assert idle_keys(load_recipe(name)) == {}


def test_a_run_says_what_does_nothing_once_its_corpus_is_known(tmp_path: Path, tiny_olmoe: Path) -> None:
    path, heard = tmp_path / "a.jsonl", Heard()
    write_corpus(path, 40)
    path.write_text(path.read_text().replace('"date"', '"when"'))
    recipe = recipe_of(path, tiny_olmoe, "topics.time_bins=5", "corpus.per_package=3")
    pipeline.plan(recipe, tmp_path / "run", progress=heard)
    (note,) = [note for note in heard.notes if note.startswith("Without effect here")]
    assert "topics.time_bins (it needs topics.over_time and a corpus with times)" in note
    assert "corpus.per_package (it needs docstrings)" in note


def test_only_what_was_typed_is_noted_of_new_documents(here: None) -> None:
    settings = CorpusSettings("a.csv", per_package=3, pattern="*.md", label="x")
    assert list(idle_overrides(settings, ["corpus.pattern=*.md"])) == ["corpus.pattern"]
    assert list(idle_in_prediction(settings, ["corpus.label=x"])) == ["corpus.label"]
    assert idle_in_prediction(settings, ["corpus.text=x"]) == {}


def test_predict_and_update_say_what_does_nothing(root: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id,text\n1,orbit moon rocket\n")
    result = call("predict", root / "run", tmp_path / "new.csv", "corpus.pattern=*.md")
    assert "note: Without effect here: corpus.pattern (it needs a folder)." in result.stderr and not result.exit_code
    heard = Heard()
    pipeline.update(root / "run", [str(tmp_path / "new.csv")], overrides=["corpus.pattern=*.md"], progress=heard)
    assert any("corpus.pattern (it needs a folder)" in note for note in heard.notes)
