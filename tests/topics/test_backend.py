from __future__ import annotations

import pickle
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bag_of_words import THEMES, BagOfWords, NarrowCone, themed_corpus
from bertopic import BERTopic
from fitted_topics import DOCUMENTS, HIDDEN_STATES, LABELS, TIMESTAMPS, backend, vectors
from fusion_doubles import cosines_of

from moee_topics.embed import Embedder
from moee_topics.errors import InputError, ModelError
from moee_topics.fuse import METHODS, RAW, Fusion
from moee_topics.store import EmbeddingStore
from moee_topics.topics import fit_topics
from moee_topics.topics.backend import ISOTROPIC, MoEEBackend

WORDS = sorted({word for words in THEMES.values() for word in words.split()})


def test_vectors_are_the_fusion_of_the_embeddings() -> None:
    encoder = BagOfWords()
    embeddings = encoder.encode(DOCUMENTS)
    fusion = Fusion("weighted_sum", 0.3).fit([embeddings])
    rows = MoEEBackend(encoder, fusion).embed_documents(DOCUMENTS)
    assert np.array_equal(rows, fusion.transform(embeddings))


@pytest.mark.parametrize("texts", [["orbit"], ["orbit", "orbit", ""], ["a " * 60, "orbit", "a " * 60]])
def test_a_text_has_one_vector_alone_repeated_and_among_others(texts: list[str]) -> None:
    together = backend().embed(texts)
    assert together.shape == (len(texts), vectors().shape[1])
    for text, vector in zip(texts, together, strict=True):
        assert np.array_equal(backend().embed([text])[0], vector)


def test_words_documents_and_single_strings_share_one_prompt() -> None:
    mine = backend()
    expected = mine.embed(["orbit"])
    assert np.array_equal(mine.embed_words(["orbit"]), expected)
    assert np.array_equal(mine.embed_documents(["orbit"]), expected)
    assert np.array_equal(mine.embed("orbit"), expected)


def test_words_are_encoded_once_and_in_an_order_of_their_own() -> None:
    encoder = BagOfWords()
    mine = MoEEBackend(encoder, RAW)
    mine.embed_words(["rocket", "moon", "rocket"])
    mine.embed_documents(["planet", "moon"])
    assert encoder.encoded == ["moon", "rocket", "planet"]


def test_nothing_to_embed_is_refused() -> None:
    with pytest.raises(InputError, match="empty list"):
        backend().embed([])


@pytest.mark.parametrize("other", [None, float("nan"), 3, b"bytes", ["nested"]])
def test_what_is_no_string_is_named_with_its_position(other: Any, tmp_path: Path) -> None:
    texts: list[Any] = ["orbit and moon", "puck and goal", other]
    for mine in (backend(), MoEEBackend(BagOfWords(), RAW, store=tmp_path)):
        for embed in (mine.embed, mine.embed_documents, mine.embed_words, mine.fit_fusion):
            with pytest.raises(InputError, match=f"Document 2 is of type {type(other).__name__}"):
                embed(texts)
    # BERTopic looks only whether any of them is a string, and leaves the rest to its embedding model.
    with pytest.raises(InputError, match="Document 2"):
        BERTopic(embedding_model=backend()).fit_transform([*texts, *DOCUMENTS])


@pytest.mark.parametrize(
    "column", [np.array(DOCUMENTS), np.array(DOCUMENTS, object), pd.Series(DOCUMENTS), tuple(DOCUMENTS)]
)
def test_columns_of_strings_are_documents(column: Any) -> None:
    np.testing.assert_array_equal(backend().embed_documents(column), backend().embed_documents(DOCUMENTS))


def of_polars() -> Any:
    return pytest.importorskip("polars").Series(DOCUMENTS)


def of_datasets() -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict({"text": DOCUMENTS})["text"]


COLUMNS = {
    "numpy strings": lambda: np.array(DOCUMENTS),
    "numpy objects": lambda: np.array(DOCUMENTS, object),
    "numpy StringDType": lambda: np.array(DOCUMENTS, np.dtypes.StringDType()),
    "pandas": lambda: pd.Series(DOCUMENTS),
    "pandas string": lambda: pd.Series(DOCUMENTS, dtype="string"),
    "pandas of Arrow": lambda: pd.Series(DOCUMENTS, dtype=pd.ArrowDtype(pa.string())),
    "Arrow": lambda: pa.array(DOCUMENTS),
    "Arrow in chunks": lambda: pa.chunked_array([DOCUMENTS[:50], DOCUMENTS[50:]]),
    "polars": of_polars,
    "datasets": of_datasets,
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_strings_of_every_library_are_documents(kind: str) -> None:
    column = COLUMNS[kind]()
    for embed in (backend().embed, backend().embed_documents):
        np.testing.assert_array_equal(embed(column), vectors())
    assert fit_topics(column, vectors(), representation="ctfidf", positions=vectors()[:, :2]).result.texts == DOCUMENTS
    if kind.startswith("Arrow"):
        # BERTopic looks for a str among them before it asks anyone, and a scalar of Arrow is none.
        with pytest.raises(TypeError, match="only contains strings"):
            without_umap().fit_transform(column)
    else:
        assert without_umap().fit_transform(column)[0] == without_umap().fit_transform(DOCUMENTS)[0]


@pytest.mark.parametrize("other", [None, float("nan"), 3, b"bytes", pd.NA])
def test_bertopic_passes_on_which_document_is_no_string(other: Any) -> None:
    for documents in ([*DOCUMENTS, other], pd.Series([*DOCUMENTS, other], dtype=object)):
        with pytest.raises(InputError, match=f"Document {len(DOCUMENTS)} is of type"):
            without_umap().fit_transform(documents)


@pytest.mark.parametrize("documents", [None, 3, b"bytes", "one text", [1, 2, 3], pd.DataFrame({"text": DOCUMENTS})])
def test_bertopic_refuses_by_itself_what_holds_no_string_at_all(documents: Any) -> None:
    """Ours is not asked: BERTopic's own error comes first. Once it asks us instead, ours must name the fault."""
    with pytest.raises((TypeError, InputError)):
        without_umap().fit_transform(documents)


@pytest.mark.parametrize("texts", [["😀 🚀"], ["the and of"], ["12345 678"], ["the same"] * 12])
def test_odd_texts_have_finite_vectors_and_copies_the_same(texts: list[str]) -> None:
    rows = backend().embed_documents(texts)
    assert np.isfinite(rows).all() and (rows == rows[0]).all()


def test_a_corpus_without_words_ends_in_bertopic_s_vectorizer_and_not_in_the_backend() -> None:
    """There its own CountVectorizer counts the words, and says so; ours is in fits of this package."""
    with pytest.raises(ValueError, match="empty vocabulary"):
        without_umap().fit_transform([f"{a} {b}" for a in "😀🚀🌷🏒🌙⭐" for b in "🔥🧄🥅🍳🌱🛰"])


def without_umap() -> Any:
    from sklearn.decomposition import PCA

    return BERTopic(embedding_model=backend(), umap_model=PCA(5))


@pytest.mark.parametrize("table", [b"one text", pd.DataFrame({"text": DOCUMENTS}), {"text": DOCUMENTS}, 7])
def test_a_table_or_bytes_are_no_documents(table: Any) -> None:
    for embed in (backend().embed, backend().fit_fusion, Embedder.of(BagOfWords()).embed):
        with pytest.raises(InputError, match="list or a column of strings"):
            embed(table)
    with pytest.raises(InputError, match="list or a column of strings"):
        backend().fit_fusion("one text")  # its characters would be documents


def test_a_function_loads_the_encoder_at_the_first_miss_and_again_after_release() -> None:
    loaded: list[BagOfWords] = []

    def load() -> BagOfWords:
        loaded.append(BagOfWords())
        return loaded[-1]

    mine = MoEEBackend(load, RAW)
    assert not mine.is_loaded
    mine.embed(["orbit"])
    mine.embed(["orbit"])
    assert len(loaded) == 1
    mine.release()
    assert not mine.is_loaded
    mine.embed(["orbit"])
    assert len(loaded) == 1
    mine.embed(["moon"])
    assert len(loaded) == 2


def test_an_encoder_that_was_released_cannot_come_back() -> None:
    mine = backend()
    mine.release()
    with pytest.raises(ModelError, match="from a model's name or from a function"):
        mine.embed(["orbit"])


def test_options_of_loading_go_with_a_name_only() -> None:
    with pytest.raises(InputError, match="max_tokens"):
        MoEEBackend(BagOfWords(), max_tokens=128)


def test_stored_documents_are_never_encoded(tmp_path: Path) -> None:
    Embedder.of(BagOfWords(), tmp_path).ensure_texts(DOCUMENTS)

    def forbidden() -> BagOfWords:
        raise AssertionError("the model was loaded")

    mine = MoEEBackend(Embedder(forbidden, tmp_path, key=BagOfWords().spec.key()), HIDDEN_STATES)
    assert np.allclose(mine.embed_documents(DOCUMENTS), vectors(), atol=2e-3)


def test_a_store_keeps_new_texts_and_words_under_their_own_names(tmp_path: Path) -> None:
    MoEEBackend(BagOfWords(), RAW, store=tmp_path).embed_documents([*DOCUMENTS[:3], "orbit"])
    store = EmbeddingStore.open(tmp_path, BagOfWords().spec.key())
    assert {name for name, _ in store.documents()} == {*DOCUMENTS[:3], "orbit"}


def test_a_fusion_is_fitted_on_a_corpus_beforehand_and_changes_words_too() -> None:
    mine = MoEEBackend(BagOfWords(), Fusion("hidden_states"))
    with pytest.raises(InputError, match="Call fit"):
        mine.embed_words(["orbit"])
    mine.fit_fusion(DOCUMENTS)
    standardized = mine.embed_documents(DOCUMENTS)
    assert np.allclose(standardized.mean(axis=0), 0.0, atol=1e-4)
    assert not np.array_equal(mine.embed_words(["orbit"]), backend().embed_words(["orbit"]))


def test_where_nothing_is_said_the_documents_of_a_fit_make_cosines_mean_something() -> None:
    raw = MoEEBackend(NarrowCone(), RAW)
    mine = MoEEBackend(NarrowCone())
    assert mine.fusion == ISOTROPIC and mine.learns
    for kind in (DOCUMENTS, WORDS):
        assert np.median(cosines_of(raw.embed_documents(kind))) > 0.6
    documents, words = mine.embed_documents(DOCUMENTS), mine.embed_words(WORDS)
    assert not mine.learns and not mine.fusion.needs_fit
    assert abs(np.median(cosines_of(documents))) < 0.15 and abs(np.median(cosines_of(words))) < 0.25
    np.testing.assert_allclose(mine.embed_documents(DOCUMENTS), documents, atol=1e-6)


def narrow_cone() -> NarrowCone:
    return NarrowCone()


def test_what_was_learnt_stays_whatever_comes_later_and_travels_in_a_pickle() -> None:
    mine = MoEEBackend(narrow_cone)
    mine.embed_documents(DOCUMENTS)
    before, fusion = mine.embed(["orbit and moon", *DOCUMENTS[:3]]), mine.fusion
    mine.embed_documents([f"puck {i}" for i in range(60)])
    assert mine.fusion is fusion
    np.testing.assert_array_equal(mine.embed(["orbit and moon", *DOCUMENTS[:3]]), before)
    again = pickle.loads(pickle.dumps(mine))
    assert not again.learns
    np.testing.assert_array_equal(again.embed(["orbit and moon", *DOCUMENTS[:3]]), before)


def test_a_loaded_model_is_right_with_the_saved_fusion_and_warned_with_a_fresh_backend(tmp_path: Path) -> None:
    taught = MoEEBackend(NarrowCone())
    fitted = bertopic(embedding_model=taught)
    with pytest.warns(UserWarning, match=r"statistics from \d+ different documents .* right for a fit"):
        fitted.fit(DOCUMENTS)
    fitted.save(str(tmp_path / "model"), serialization="safetensors", save_ctfidf=True, save_embedding_model=False)
    taught.fusion.save(tmp_path / "fusion.safetensors")
    documents, labels = themed_corpus(per_theme=60, noise=0, seed=5)
    space = [text for text, label in zip(documents, labels, strict=True) if label == "space"]

    def topics(embedding_model: MoEEBackend) -> set[int]:
        return set(BERTopic.load(str(tmp_path / "model"), embedding_model=embedding_model).transform(space)[0])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = topics(MoEEBackend(NarrowCone(), Fusion.load(tmp_path / "fusion.safetensors")))
    assert right == {fitted.topics_[LABELS.index("space")]}
    with pytest.warns(UserWarning, match=r"loaded or merged needs those of its own fit.*Fusion\.load\(path\)"):
        assert topics(MoEEBackend(NarrowCone())) != right


def test_documents_that_teach_are_encoded_once_and_the_same_from_a_store(tmp_path: Path) -> None:
    encoder, stored = NarrowCone(), MoEEBackend(NarrowCone(), store=tmp_path)
    vectors = MoEEBackend(encoder).embed_documents([*DOCUMENTS, DOCUMENTS[0]])
    assert all(encoder.encoded.count(text) == 1 for text in DOCUMENTS)
    np.testing.assert_array_equal(vectors[0], vectors[-1])
    np.testing.assert_allclose(stored.embed_documents(DOCUMENTS), vectors[:-1], atol=0.02)


def test_too_few_documents_teach_nothing_and_are_told() -> None:
    mine = MoEEBackend(NarrowCone())
    with pytest.warns(UserWarning, match="learnt nothing of a corpus yet"):
        vectors = mine.embed_documents(DOCUMENTS[:9])
    assert mine.learns
    np.testing.assert_array_equal(vectors, MoEEBackend(NarrowCone(), RAW).embed(DOCUMENTS[:9]))


def test_documents_without_words_are_told_by_name_before_they_are_encoded() -> None:
    encoder = NarrowCone()
    with pytest.raises(InputError, match="align_words needs words"):
        MoEEBackend(encoder).embed_documents([f"{a} {b}" for a in "😀🚀🌷🏒🌙⭐🧄🥅" for b in "🔥🧄🥅🍳🌱🛰🏒"])
    assert not encoder.encoded


def test_words_beside_the_rest_reach_documents_and_single_words() -> None:
    texts = [f"{'orbit moon' if i % 2 else 'bread oven'} {i // 4}" for i in range(20)]
    plain = MoEEBackend(BagOfWords(), RAW).embed(texts)
    mine = MoEEBackend(BagOfWords(), Fusion(standardize="none", lexical=4.0)).fit_fusion(texts)
    vectors = mine.embed([*texts, "orbit"])
    assert vectors.shape[1] > plain.shape[1]
    cosines = vectors @ vectors[-1] / np.linalg.norm(vectors, axis=1)
    assert cosines[1:20:2].min() > cosines[0:20:2].max()


@pytest.mark.parametrize("method", METHODS)
def test_threads_get_the_vectors_of_their_own_texts(method: str, tmp_path: Path) -> None:
    fusion = Fusion(method, standardize="none")
    mine, wrong = MoEEBackend(BagOfWords(), fusion, store=tmp_path), []

    def work(number: int) -> None:
        for turn in range(10):
            texts = [*DOCUMENTS[number + turn : number + turn + 3], "orbit", "puck", f"moon{turn}"]
            expected = fusion.transform(BagOfWords().encode(texts).rounded())
            if not np.array_equal(mine.embed(texts), expected):
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_pickle_holds_no_weights_and_loads_the_model_by_its_name() -> None:
    mine = MoEEBackend("pocket", Fusion("concat", standardize="none"), max_tokens=64)
    mine.embedder._encoder = BagOfWords()
    mine.embed_words(["orbit"])
    again = pickle.loads(pickle.dumps(mine))
    assert not again.is_loaded
    assert (again._encoder, again._options, again.fusion.method) == ("pocket", {"max_tokens": 64}, "concat")


def test_a_pickle_without_a_name_says_that_the_encoder_is_gone() -> None:
    again = pickle.loads(pickle.dumps(backend()))
    with pytest.raises(ModelError, match="not saved with the backend"):
        again.embed(["orbit"])


def bertopic(**options: Any) -> Any:
    from bertopic import BERTopic
    from sklearn.feature_extraction.text import CountVectorizer
    from umap import UMAP

    from moee_topics.topics.lean_umap import keep_compiled

    keep_compiled("umap")
    parts = {
        "umap_model": UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=42, n_jobs=1),
        "vectorizer_model": CountVectorizer(stop_words="english"),
        "embedding_model": backend(),
    }
    return BERTopic(**{**parts, **options})


@pytest.fixture(scope="module")
def model() -> Any:
    from bertopic.representation import KeyBERTInspired, MaximalMarginalRelevance

    aspects = {"Main": [KeyBERTInspired()], "diverse": MaximalMarginalRelevance(diversity=0.5)}
    fitted = bertopic(representation_model=aspects)
    fitted.fit_transform(DOCUMENTS)
    return fitted


@pytest.fixture
def copy(model: Any, tmp_path: Path) -> Any:
    """A model to change, as BERTopic saves and loads it."""
    from bertopic import BERTopic

    model.save(str(tmp_path), serialization="safetensors", save_ctfidf=True, save_embedding_model=True)
    return BERTopic.load(str(tmp_path), embedding_model=backend())


def themes_of(topics: list[int], labels: list[str]) -> dict[str, set[int]]:
    return {theme: {topic for topic, of in zip(topics, labels, strict=True) if of == theme} for theme in THEMES}


def test_bertopic_fit_transform(model: Any) -> None:
    assert all(len(topics) == 1 for topics in themes_of(model.topics_, LABELS).values())
    words = {word for word, _ in model.get_topic(model.topics_[LABELS.index("space")])}
    assert words == set(THEMES["space"].split())
    assert set(model.topic_aspects_["diverse"]) == set(model.topic_representations_)


def test_bertopic_transform_of_many_and_of_one(model: Any) -> None:
    documents, labels = themed_corpus(per_theme=3, noise=0, seed=5)
    topics, _ = model.transform(documents)
    fitted = themes_of(model.topics_, LABELS)
    assert all(numbers <= fitted[theme] for theme, numbers in themes_of(list(topics), labels).items())
    assert model.transform(documents[0])[0][0] in fitted[labels[0]]


def test_bertopic_find_topics(model: Any) -> None:
    nearest, likeness = model.find_topics("orbit rocket moon", top_n=1)
    assert nearest == [model.topics_[LABELS.index("space")]]
    assert likeness[0] > 0.5


def test_bertopic_over_time_per_class_and_hierarchy(model: Any) -> None:
    from datetime import datetime

    times = [datetime.fromisoformat(time) for time in TIMESTAMPS]
    assert model.topics_over_time(DOCUMENTS, times, nr_bins=4)["Frequency"].sum() == len(DOCUMENTS)
    assert model.topics_per_class(DOCUMENTS, LABELS)["Frequency"].sum() == len(DOCUMENTS)
    hierarchy = model.hierarchical_topics(DOCUMENTS)
    assert len(hierarchy) == len(model.get_topics()) - 1
    assert all(f"Topic: {topic}" in model.get_topic_tree(hierarchy) for topic in range(4))


@pytest.mark.parametrize("by_embedding", [False, True])
def test_bertopic_approximate_distribution(model: Any, by_embedding: bool) -> None:
    documents, labels = themed_corpus(per_theme=1, noise=0, seed=5)
    distribution, _ = model.approximate_distribution(documents, use_embedding_model=by_embedding, min_similarity=0.0)
    fitted = themes_of(model.topics_, LABELS)
    assert [row.argmax() in fitted[theme] for row, theme in zip(distribution, labels, strict=True)] == [True] * 4


def test_bertopic_reduce_outliers_and_update_topics(copy: Any) -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    before = list(copy.topics_)
    vectorizer = CountVectorizer(stop_words="english")
    copy.update_topics(DOCUMENTS, topics=[-1] * 20 + before[20:], vectorizer_model=vectorizer)
    for strategy in ("distributions", "c-tf-idf"):
        topics = copy.reduce_outliers(DOCUMENTS, copy.topics_, strategy=strategy)
        assert sum(topic == of for topic, of in zip(topics, before, strict=True)) >= len(before) - 8
    copy.update_topics(DOCUMENTS, topics=topics, vectorizer_model=vectorizer)
    assert -1 not in copy.get_topics()


def test_bertopic_merge_and_reduce_topics(copy: Any) -> None:
    before = len(copy.get_topics())
    copy.merge_topics(DOCUMENTS, [0, 1])
    assert len(copy.get_topics()) == before - 1
    copy.reduce_topics(DOCUMENTS, nr_topics=2)
    assert len(copy.get_topics()) == 2


def test_bertopic_save_and_load_name_no_model_to_download(model: Any, copy: Any, tmp_path: Path) -> None:
    assert "embedding_model" not in (tmp_path / "config.json").read_text()
    assert isinstance(copy.embedding_model, MoEEBackend)
    topics, _ = copy.transform(DOCUMENTS)
    assert np.mean(np.asarray(topics) == np.asarray(model.topics_)) > 0.9


def test_bertopic_merge_models(model: Any, copy: Any) -> None:
    from bertopic import BERTopic

    merged = BERTopic.merge_models([model, copy], embedding_model=backend())
    assert len(merged.get_topics()) == len(model.get_topics())


def test_bertopic_partial_fit_in_double_precision() -> None:
    """float32 vectors fail in MiniBatchKMeans after IncrementalPCA (scikit-learn 1.9), whatever the backend."""
    from bertopic.vectorizers import OnlineCountVectorizer
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import IncrementalPCA

    def fitted(double_precision: bool) -> Any:
        online = bertopic(
            embedding_model=MoEEBackend(BagOfWords(), HIDDEN_STATES, double_precision=double_precision),
            umap_model=IncrementalPCA(n_components=5),
            hdbscan_model=MiniBatchKMeans(n_clusters=4, random_state=0, n_init=3),
            vectorizer_model=OnlineCountVectorizer(stop_words="english"),
        )
        for start in (0, 86):
            online.partial_fit(DOCUMENTS[start : start + 86])
        return online

    assert len(fitted(double_precision=True).get_topics()) == 4
    with pytest.raises(ValueError, match="dtype"):
        fitted(double_precision=False)


def test_bertopic_over_time_takes_no_strings_on_pandas_3(model: Any) -> None:
    """By itself: pandas has no infer_datetime_format any more. Runs of this package read times before BERTopic does."""
    with pytest.raises(TypeError, match="infer_datetime_format"):
        model.topics_over_time(DOCUMENTS, TIMESTAMPS)


@pytest.mark.parametrize("guidance", ["guided", "zero-shot"])
def test_bertopic_guided_and_zero_shot(guidance: str) -> None:
    space = "orbit rocket planet moon"
    options = {"seed_topic_list": [space.split()]} if guidance == "guided" else {"zeroshot_topic_list": [space]}
    guided = bertopic(**options, zeroshot_min_similarity=0.6)
    topics, _ = guided.fit_transform(DOCUMENTS)
    assert len(themes_of(topics, LABELS)["space"]) == 1


@pytest.mark.parametrize(
    "name",
    ["topics", "term_rank", "hierarchy", "heatmap", "barchart", "documents", "over_time", "per_class"],
)
def test_bertopic_visualize(model: Any, name: str) -> None:
    figures = {
        "topics": model.visualize_topics,
        "term_rank": model.visualize_term_rank,
        "hierarchy": model.visualize_hierarchy,
        "heatmap": model.visualize_heatmap,
        "barchart": model.visualize_barchart,
        "documents": lambda: model.visualize_documents(DOCUMENTS, reduced_embeddings=vectors()[:, :2]),
        "over_time": lambda: model.visualize_topics_over_time(over_time(model)),
        "per_class": lambda: model.visualize_topics_per_class(model.topics_per_class(DOCUMENTS, LABELS)),
    }
    assert len(figures[name]().data) > 0


def over_time(model: Any) -> Any:
    from datetime import datetime

    return model.topics_over_time(DOCUMENTS, [datetime.fromisoformat(time) for time in TIMESTAMPS], nr_bins=4)
