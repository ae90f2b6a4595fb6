"""The published code's own standardizing, batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fusion_doubles import embeddings

from moee_topics.errors import InputError
from moee_topics.fuse.batch_fusion import BatchFusion


@pytest.mark.parametrize("router", ["logits", "softmax"])
def test_the_published_scaling_is_per_batch_and_zero_for_one(router: Any) -> None:
    batch = embeddings(29)
    scores = batch.router_logits.astype(np.float32) if router == "logits" else batch.routing_weights
    both = np.concatenate([batch.hidden_states.astype(np.float64), scores.reshape(29, -1)], axis=1)
    expected = (both - both.mean(axis=0)) / (both.std(axis=0, ddof=1) + 1e-8)
    np.testing.assert_allclose(BatchFusion("concat", router).transform(batch), expected, atol=1e-5)
    assert not BatchFusion("routing_weights", router).transform(batch[:1]).any()


def test_the_published_code_scales_neither_hidden_states_nor_its_sum() -> None:
    with pytest.raises(InputError, match="leaves it as it is"):
        BatchFusion("weighted_sum")
