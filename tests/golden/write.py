"""Writes what the embedded model gives today into ``pocket.json``: ``python tests/golden/write.py``, three minutes.

Do so after a change of its weights, of a recipe's numbers on purpose, or of constraints.txt (the documents are
docstrings of installed packages); any other difference is a fault.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # of this checkout, whichever one is installed

import numpy as np
import torch
from llvmlite.binding import get_host_cpu_name
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from moee_topics import Document, Embedder, Embeddings, RunFolder, load_recipe, predict, run
from moee_topics.encode import POCKET, EncoderSource
from moee_topics.mteb import load_score_recipe, score

GOLDEN = Path(__file__).parent / "pocket.json"
# In float32 every processor comes to nearly the same; in bfloat16, which some choose by themselves, vectors differ by
# percents. 32 tokens of it take a minute, the 96 of the recipe three.
ENCODER = ("encoder.dtype=float32", "encoder.max_tokens=32")
CORPUS = ("corpus.packages=[networkx,pandas,pygments,scipy,sympy]", "corpus.per_package=80")
NEW = (
    "Return the shortest path between two nodes of a weighted graph.",
    "Lexer for a small programming language with comments and strings.",
    "Compute the eigenvalues of a sparse symmetric matrix.",
    "Convert the columns of a DataFrame to another dtype.",
    "Simplify a trigonometric expression of several symbols.",
)


def digest(*parts: bytes) -> str:
    """16 hexadecimal digits of bytes."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def weights() -> str:
    """A digest of the embedded model."""
    return digest(*(path.read_bytes() for path in sorted(POCKET.glob("*.safetensors"))))


def vectors(embeddings: Embeddings, fused: np.ndarray) -> dict[str, Any]:
    """Lengths, means, which document is nearest to each, and digests of what is stored and fused."""
    stored = embeddings.rounded()
    nearest = NearestNeighbors(n_neighbors=1).fit(fused).kneighbors(return_distance=False)
    return {
        "digests": [digest(stored.hidden_states.tobytes(), stored.routing_weights.tobytes()), digest(fused.tobytes())],
        "hidden_norms": np.linalg.norm(embeddings.hidden_states.astype(np.float64), axis=1)[::8].round(4).tolist(),
        "routing_peaks": embeddings.routing_weights.mean(axis=0, dtype=np.float64).max(axis=1).round(5).tolist(),
        "nearest": nearest[:, 0].tolist(),
    }


def topics(finished: RunFolder) -> dict[str, Any]:
    """The topic of each document, the words of each topic, and the scores of the run."""
    result = finished.result
    return {
        "topics": result.topics.tolist(),
        "probabilities": result.probabilities.astype(float).round(5).tolist(),
        "words": {str(topic.topic): [word for word, _ in topic.words[:5]] for topic in result.topic_info},
        "scores": {name: record["value"] for name, record in finished.scores.items()},
    }


def predictions(finished: RunFolder) -> list[dict[str, Any]]:
    """For each new text its topic, and the package that most documents of it come from, whatever its number is."""
    result, rows = finished.result, []
    for row in predict(finished.path, [Document(str(at), text) for at, text in enumerate(NEW)]):
        labels = np.array(result.labels)[result.topics == row.topic]
        ((package, _),) = Counter(labels.tolist()).most_common(1)
        rows.append({"topic": row.topic, "package": package, "probability": row.probability})
    return rows


def local_scores(folder: Path, texts: list[str], labels: list[str]) -> dict[str, float]:
    """``score-local`` on one file of the run's documents, whose vectors are read from its store."""
    rows = (json.dumps({"text": text, "label": label}) + "\n" for text, label in zip(texts, labels, strict=True))
    (folder / "packages.jsonl").write_text("".join(rows), encoding="utf-8")
    files = "score.local=[{name: Packages, file: packages.jsonl, type: Clustering}]"
    recipe = load_score_recipe("score-local", [*ENCODER, f"score.data={folder}", files])
    (task,) = score(recipe, folder / "scores", store=folder / "store").tasks
    return {f"{label} {name}": task.score(label, name) for label in task.scores for name in ("v_measure", "ami")}


def golden_values(folder: Path) -> dict[str, Any]:
    """All of it, made in an empty folder, by one thread: sums in other parts have other last digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            recipe = load_recipe("quickstart", [*CORPUS, *ENCODER])
            finished = run(recipe, folder / "runs" / "golden", folder / "store")
            result = finished.result
            embeddings = Embedder(EncoderSource(recipe.encoder), folder / "store").embed(result.texts)
            return {
                "weights": weights(),
                "corpus": digest("\n".join(result.texts).encode()),
                "processor": f"{get_host_cpu_name()} {torch.backends.cpu.get_cpu_capability()}",
                "vectors": vectors(embeddings, finished.fusion.transform(embeddings.rounded(), result.texts)),
                "fit": topics(finished),
                "predictions": predictions(finished),
                "scores": local_scores(folder, result.texts, list(map(str, result.labels or []))),
            }
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        values = golden_values(Path(made))
    lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"Written: {GOLDEN}, of weights {values['weights']} on {values['processor']}")
