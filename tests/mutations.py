"""Files with bytes or values changed, for the tests that feed damaged input to every reader."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 10**6, 2**31, 2**63, 2**70, 1.5, -0.5, 1e300, float("nan"), float("inf")),
    *("", "x", "gelu", "float64", "olmoe", "bert", "../x", "\ud800", "9" * 100, [], [0], ["x"], [None], {}, {"x": 1}),
    *({"rope_type": "default"}, {"rope_type": "yarn", "factor": 0}, [[[]]], {"type": "linear"}, "<|endoftext|>"),
)
ODD_BYTES = (
    *(b"\0", b"\xff", b"\xff\xfe", b"{", b"}", b"[", b'"', b",", b"\n", b"\r", b"null", b"-1", b"NaN", b"1e999"),
    *(b"9" * 30, b"9" * 5000, b"[" * 300, b"\xed\xa0\x80", b"\\ud800", b"\xef\xbb\xbf"),
)


def mutated(content: bytes, rng: random.Random, *, within: int | None = None) -> bytes:
    """Content with one to four bytes changed, put in, deleted or copied among the first ``within``, or cut off."""
    raw = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(max(1, min(within or len(raw), len(raw))))
        kind = rng.randrange(4)
        if kind == 0 and raw:
            raw[at] = rng.randrange(256)
        elif kind == 1:
            raw[at:at] = rng.choice(ODD_BYTES)
        elif kind == 2:
            del raw[at : at + rng.randint(1, 30)]
        else:
            raw[at:at] = raw[rng.randrange(len(raw) + 1) :][:20]
    return bytes(raw[: rng.randrange(len(raw) + 1)] if rng.random() < 0.1 else raw)


def mutated_json(content: bytes, rng: random.Random, new_keys: tuple[str, ...] = ("new",)) -> bytes:
    """JSON with one to three values changed, taken out or added; every fourth time bytes instead."""
    if rng.random() < 0.25:
        return mutated(content, rng)
    data = json.loads(content)
    for _ in range(rng.randint(1, 3)):
        *road, last = rng.choice(_places(data) or [(0,)])
        owner = data
        for key in road:
            owner = owner[key]
        kind = rng.randrange(4)
        if kind == 0 and owner:
            del owner[last]
        elif kind == 1 and isinstance(owner, dict):
            owner[rng.choice(new_keys)] = copy.deepcopy(rng.choice(ODD_VALUES))
        elif owner:
            owner[last] = copy.deepcopy(rng.choice(ODD_VALUES))
    return json.dumps(data).encode()


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value; of long lists and mappings the first forty."""
    inside = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    return [deeper for key, inner in inside[:40] for deeper in [(*path, key), *_places(inner, (*path, key))]]
