"""How a dense decoder is carved, and how the mixture is taught. Nothing here needs torch: the commands read it too.

What has a description here is an option of the command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Grouping = Literal["kmeans", "spread", "random"]
Learn = Literal["all", "routers_and_norms"]

CALIBRATION_TOKENS = 16_384
"""Tokens that a carving looks at."""


@dataclass(frozen=True)
class CarveSettings:
    """How the feed-forward layers are cut."""

    groups: Annotated[int, Field(ge=1, description="Routed groups of neurons in each layer.")] = 24
    # What the groups leave is shared, and must be a whole number of groups.
    group_size: Annotated[int, Field(ge=1, description="Neurons of a group; the rest is shared.")] = 48
    # One number for all layers: Glm4MoeModel has no place for more (docs/decisions/11).
    active: Annotated[int, Field(ge=1, description="Groups that each token goes through, in every layer.")] = 16
    dense_layers: Annotated[int, Field(ge=0, description="First layers that stay dense.")] = 0
    # "kmeans": neurons that are active together share a group, which keeps the hidden states nearest to the donor's.
    # "spread": they go to different ones, whose routing tells texts apart better: that of SmolLM2-135M on 2,500 arXiv
    # abstracts clusters with an AMI of 23.0 by "kmeans" and 31.3 by "spread". "random" is a control (29.1 to 30.4):
    # groups of like neurons have logits that repeat each other.
    grouping: Annotated[Grouping, Field(description="Like neurons in one group, in different ones, or any.")] = "kmeans"
    # Added to the variances of a layer's logits over texts, in units of the mean one, when they are made uncorrelated;
    # 0 leaves them. 0.1 lifts the 23.0 to 28.9 and the 31.3 to 33.3, for a choice of groups that holds 0.3 to 0.7
    # points less of the activation.
    decorrelate: Annotated[
        float, Field(ge=0, description="Router logits that repeat each other less; 0.1 is good.")
    ] = 0.0
    # Near 0 every chosen group counts fully; 1e-6 with every group active is the dense model to 1e-5. Much below 1e-5
    # float32 no longer tells close logits apart after the sigmoid.
    strength: Annotated[float, Field(description="Scale of the router's logits.")] = 1e-4
    # For active groups that count fully, as at a small strength: a distillation begins with others, and learns itself.
    least_squares: Annotated[bool, Field(description="Fit down projections to what idle groups leave out.")] = False
    seed: Annotated[int, Field(ge=0, description="Seed of the grouping.")] = 0


@dataclass(frozen=True)
class DistilSettings:
    """How long and how hard.

    Attributes:
        lengths: tokens of a text; each step takes one of them, in turn.
        router_rate: the multiple of the rate that routers learn by.
        warm_up: steps until the rate is at its peak; afterwards it is let down along a cosine.
        pooled, hidden, middle: weights of the three errors.
        layers: layers after which the residual stream is compared; None for 5, 11, 17 and 23, where there are so many.
        round_after: share of the way after which, for ``four_bits``, the forward uses the weights as they are in four
            bits.
        pair_lengths: tokens of a passage; each step takes one of them, in turn.
        pair_rate: peak learning rate of that share.
        temperature: by which the cosines are divided.
        pair_routing: weight of the same error of the routing, as it is read, beside that of the means.
        pair_middle: weight of the error of the ``layers`` against the parent, which keeps them a language model's.
        checkpoint_seconds: between two checkpoints.
    """

    tokens: Annotated[int, Field(ge=1, description="Tokens to learn from, all passes together.")] = 2_000_000
    hours: Annotated[float | None, Field(ge=0, description="Stop after so many hours; 0 for no such limit.")] = None
    batch: Annotated[int, Field(ge=1, description="Tokens of one step.")] = 2048
    lengths: tuple[int, ...] = (128, 64, 256, 24)
    # 2.5e-4 with steps of 2,048 tokens made a carved SmolLM2 worse than it was; 8e-5 made it better.
    rate: Annotated[float, Field(description="Peak of the learning rate.")] = 8e-5
    router_rate: float = 1.0
    warm_up: int = 30
    # "all" but the embeddings; "routers_and_norms" leaves a donor's quantized matrices exactly as they are.
    learn: Annotated[Learn, Field(description="Weights that may change.")] = "all"
    pooled: float = 1.0
    hidden: float = 1.0
    middle: float = 0.2
    layers: tuple[int, ...] | None = None
    four_bits: Annotated[bool, Field(description="Learn weights that bear four bits, and store them so.")] = False
    round_after: float = 0.1
    # The vectors of SmolLM2-135M, carved, went from an AMI of 41.1 (its parent's) to 48.4 on 20 Newsgroups by it.
    pairs: Annotated[float, Field(ge=0, le=1, description="Last share that learns from pairs of passages.")] = 0.0
    pair_lengths: tuple[int, ...] = (64, 96, 32, 48)
    pair_rate: float = 1.5e-4
    temperature: float = 0.05
    pair_routing: float = 0.2
    pair_middle: float = 0.1
    checkpoint_seconds: float = 300.0
    seed: Annotated[int, Field(ge=0, description="Seed of the order of the texts.")] = 0
