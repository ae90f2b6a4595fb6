"""The two kinds of evidence as plain matrices."""

from __future__ import annotations

import numpy as np
from fusion_doubles import embeddings, fuse

from moee_topics.embeddings import Embeddings


def test_mean_routing_weights_are_used_where_they_are() -> None:
    documents = embeddings(4)
    mean = np.full(documents.router_logits.shape, 0.25, np.float16)
    averaged = Embeddings(documents.hidden_states, documents.router_logits, mean)
    np.testing.assert_array_equal(fuse(averaged, "routing_weights"), np.full((4, 12), 0.25, np.float32))
