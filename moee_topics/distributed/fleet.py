"""Hours and money that many machines would take to encode a corpus, from the speed of one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Fleet:
    """Machines that encode a share of a corpus each.

    Attributes:
        machines: how many.
        tokens_per_second: of one of them.
        load_seconds: until the model is in memory, on each.
        read_seconds: to read the corpus, which each does as a whole.
        price_per_hour: of one machine, in any currency.
    """

    machines: int
    tokens_per_second: float
    load_seconds: float
    read_seconds: float
    price_per_hour: float | None = None

    def largest_share(self, documents: int) -> int:
        """Documents of the largest share, as chance makes it: the mean and the deviation of the largest of n."""
        mean = documents / self.machines
        # Of n sums of many independent draws the largest is about sqrt(2 ln n) deviations above the mean.
        return min(documents, round(mean + math.sqrt(2 * mean * math.log(self.machines))))

    def seconds(self, documents: int, tokens: float) -> float:
        """Until the last machine is done with so many documents of so many tokens in all."""
        share = self.largest_share(documents) / max(1, documents)
        return self.load_seconds + self.read_seconds + tokens * share / self.tokens_per_second

    def machine_hours(self, tokens: float) -> float:
        """Of all machines together, each until its own end."""
        return (self.machines * (self.load_seconds + self.read_seconds) + tokens / self.tokens_per_second) / 3600

    def cost(self, tokens: float) -> float | None:
        """Of those hours; None without a price."""
        return None if self.price_per_hour is None else self.machine_hours(tokens) * self.price_per_hour
