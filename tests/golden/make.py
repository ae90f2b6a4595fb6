"""Wrote ``golden.json``, ``fused.safetensors`` and ``store`` with version 0.1.0: no other version can, nor should.

    PYTHONPATH=CHECKOUT_OF_0.1.0:tests python tests/golden/make.py

Nothing here depends on a model or on the processor: the encoder is a double whose answer is known by eye, and PCA takes
the place of UMAP. What the embedded model gives today is written by ``write.py``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from bag_of_words import BagOfWords, themed_corpus
from safetensors.numpy import save_file

KEY = {"model": "bag of words", "layers": 2, "experts": 8, "hidden_size": 48, "pooling": "last", "prompt": "none"}
METHODS = ("hidden_states", "routing_weights", "concat", "weighted_sum")
HDBSCAN = {"min_cluster_size": 6}
ROWS = [0, 17, 34, 51, 67]


def main(folder: Path) -> None:
    from moee_topics.experts import find_experts
    from moee_topics.fusion import Standardizer, fuse
    from moee_topics.scores import DocumentTerms, cluster_scores, npmi, outlier_share, topic_diversity
    from sklearn.decomposition import PCA

    from moee_topics import __version__
    from moee_topics.store import EmbeddingStore, content_hash
    from moee_topics.topics import fit, fit_topics

    assert __version__ == "0.1.0"
    texts, labels = themed_corpus(per_theme=16, noise=4)
    new_texts = [text for text in themed_corpus(per_theme=4, noise=0, seed=1)[0] if text not in texts]
    encoder, hashes = BagOfWords(), [content_hash(text) for text in texts]
    with EmbeddingStore.open(folder / "store", KEY, writable=True) as store:
        for rows in (slice(0, 40), slice(40, None)):
            store.write(encoder.encode(texts[rows]), [f"d{n}" for n in range(len(texts))][rows], hashes[rows])
    stored = EmbeddingStore.open(folder / "store", KEY).read(hashes)
    fused = {}
    for standardized in (False, True):
        standardizer = Standardizer.fit([stored]) if standardized else None
        for method in METHODS:
            vectors = fuse(stored, method, alpha=0.5, standardizer=standardizer)
            fused[f"{method}.{'both' if standardized else 'none'}"] = vectors[ROWS]
    save_file(fused, folder / "fused.safetensors")

    fit.build_umap = lambda settings, documents, **changed: PCA(n_components=4, svd_solver="full")
    standardizer = Standardizer.fit([stored])
    vectors = fuse(stored, "weighted_sum", alpha=0.5, standardizer=standardizer)
    model = fit_topics(texts, vectors, hdbscan=HDBSCAN, representation="ctfidf")
    result = model.result
    words = [[word for word, _ in topic.words] for topic in result.topic_info if topic.topic >= 0]
    scores = [npmi(words, DocumentTerms.of(texts, words, model.model.vectorizer_model)), topic_diversity(words)]
    scores += [outlier_share(result.topics)]
    experts = find_experts(stored.routing_weights.astype(np.float16), result.topics, rng=np.random.default_rng(0))
    new = encoder.encode(new_texts).rounded() if hasattr(stored, "rounded") else encoder.encode(new_texts)
    predicted = model.predict(new_texts, fuse(new, "weighted_sum", alpha=0.5, standardizer=standardizer))
    golden = {
        "texts": texts,
        "labels": labels,
        "topics": result.topics.tolist(),
        "probabilities": [round(float(value), 7) for value in result.probabilities],
        "words": {str(topic.topic): dict(topic.words) for topic in result.topic_info},
        "scores": [score.value for score in scores],
        "agreement": {name: score.value for name, score in cluster_scores(labels, result.topics).items()},
        "experts": {str(topic.topic): [[e.layer, e.expert, e.lift] for e in topic.experts] for topic in experts.topics},
        "new_texts": new_texts,
        "predicted": np.asarray(predicted[0]).tolist(),
    }
    (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
