"""Hidden states beside routing weights, with the control that the paper lacks."""

from __future__ import annotations

import numpy as np
from scoring_doubles import HashEncoder

from moee_topics.fuse import RAW
from moee_topics.mteb.block_comparison import compare_pairs, matrices_of


def test_the_control_standardizes_hidden_states_as_it_does_routing_weights() -> None:
    blocks = matrices_of(HashEncoder().encode([f"text {i}" for i in range(30)]), RAW)
    for name in ("HS z", "RW z"):
        np.testing.assert_allclose(blocks[name].mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(blocks[name].std(axis=0), 1, atol=1e-4)


def test_one_prompt_has_no_correlation_across_prompts() -> None:
    double = HashEncoder()
    sides = (double.encode([f"a {i}" for i in range(12)]), double.encode([f"b {i}" for i in range(12)]))
    found = compare_pairs("t", {"none": sides}, list(range(12)), fusion=RAW.with_alpha(1.0))
    assert np.isnan(found.means["HS-HS"]) and np.isfinite(found.means["RW-HS"])
