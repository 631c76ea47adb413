"""Between the base and what was tuned: weights in between, which often keep the gain and lose the harm.

    base ──0.2──0.4──0.6──0.8──1── tuned        the share that finds most on the dev queries, among those that do not harm

Interpolating the weights of a model and its own fine-tuning: Wortsman et al. 2022 ("Robust fine-tuning of zero-shot models"); the mean
of several fine-tunings of one base: Wortsman et al. 2022 ("Model soups").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vecmigrate.training.devsearch import Scores

SHARES = (1.0, 0.8, 0.6, 0.4, 0.2)
"""How much of the way from the base to the tuned weights."""

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Blend:
    """One point on the way: its dev scores by query, and its mean score on the general probe (None without one)."""

    share: float
    dev: Scores
    probe: float | None = None

    @property
    def score(self) -> float:
        """The mean dev score."""
        return float(np.mean(self.dev))


def weights_of(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of the weights, by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def mean_weights(several: Sequence[Weights]) -> dict[str, Tensor]:
    """The mean of each weight; what is no floating-point number is the first one's."""
    return {name: _mean([weights[name] for weights in several]) for name in several[0]}


def _mean(values: Sequence[Tensor]) -> Tensor:
    if not values[0].is_floating_point():
        return values[0].clone()
    return torch.stack([value.float() for value in values]).mean(dim=0).to(values[0].dtype)


def between(base: Weights, tuned: Weights, share: float) -> dict[str, Tensor]:
    """The weights `share` of the way from the base to the tuned ones."""
    return {name: _between(value, tuned[name], share) for name, value in base.items()}


def _between(base: Tensor, tuned: Tensor, share: float) -> Tensor:
    if not base.is_floating_point() or share == 1.0:
        return tuned.clone()
    return torch.lerp(base.float(), tuned.float(), share).to(base.dtype)


def blends(measure: Callable[[float], Blend], shares: Sequence[float], floor: float | None, end: Blend) -> tuple[Blend, ...]:
    """The tuned end, and shares below it, the largest first: until one is harmless and the dev score falls again."""
    made = [end]
    for share in shares:
        made.append(measure(share))
        harmless = floor is None or (made[-1].probe or 0.0) >= floor
        if harmless and made[-1].score < made[-2].score:
            break
    return tuple(made)


def choose(made: Sequence[Blend], floor: float | None) -> Blend | None:
    """The harmless blend with the best dev score; of equals the one nearest the base. None where every one harms."""
    harmless = [blend for blend in made if floor is None or (blend.probe is not None and blend.probe >= floor)]
    return max(harmless, key=lambda blend: (blend.score, -blend.share), default=None)
