"""Errors against the parent in its own units, and passages told from each other."""

from __future__ import annotations

import math

import pytest
import torch
from carved_models import TRAINING, dense, texts

from moee_topics.encode.mixtures.distillation_errors import Outputs, contrast, errors, measure_scales
from moee_topics.encode.mixtures.passages import Passages


def test_pairs_are_told_from_all_other_passages_of_a_step() -> None:
    vectors = torch.eye(6)[[0, 1, 2, 0, 1, 2]] * 3
    assert contrast(vectors, 0.05) < 1e-6
    wrong = contrast(vectors[[0, 1, 2, 1, 2, 0]], 0.05)
    assert wrong == pytest.approx(20, abs=1e-3)  # each is at cosine 0 to its own and at 1 to another
    assert contrast(torch.ones(6, 4), 0.05) == pytest.approx(math.log(5), abs=1e-5)


def test_errors_are_shares_of_the_parents_own_variance() -> None:
    parent = Outputs(dense(), (0,))
    passages = Passages(texts(), TRAINING)
    scales = measure_scales(parent, passages)
    last, between = parent(torch.from_numpy(passages.stretches(0)))
    assert last.shape[1] == 16 and between[0].shape == last.shape
    same = errors((last, between), (last, between), scales)
    assert same.keys() == {"pooled", "hidden", "middle"} and all(float(value) == 0 for value in same.values())
    # A student that is off by one deviation everywhere has an error of 1, whatever the size of a dimension.
    off = {0: between[0].float() + scales.middle[0]}
    moved = errors((last + scales.hidden, off), (last, between), scales)
    assert float(moved["hidden"]) == pytest.approx(1, abs=1e-4) and float(moved["middle"]) == pytest.approx(1, abs=1e-4)
    shift = scales.hidden / scales.pooled[16]
    assert float(moved["pooled"]) == pytest.approx(float(shift.square().mean()), rel=1e-4)
