"""The elementwise losses as formulas in PyTorch, to be taken in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

EPSILON = 1e-7


def softplus(x: Tensor) -> Tensor:
    # PyTorch's own is linear from 20 on.
    return -logsigmoid(-x)


def mean_squared_error(t: Tensor, p: Tensor) -> Tensor:
    return (p - t) ** 2


def mean_absolute_error(t: Tensor, p: Tensor) -> Tensor:
    return (p - t).abs()


def mean_absolute_percentage_error(t: Tensor, p: Tensor, epsilon: float) -> Tensor:
    return 100 * (p - t).abs() / t.abs().clamp(min=epsilon)


def mean_squared_logarithmic_error(t: Tensor, p: Tensor, epsilon: float) -> Tensor:
    return (torch.log1p(p.clamp(min=epsilon)) - torch.log1p(t.clamp(min=epsilon))) ** 2


def huber(t: Tensor, p: Tensor, delta: float) -> Tensor:
    size = (p - t).abs()
    return torch.where(size <= delta, size**2 / 2, delta * (size - delta / 2))


def log_cosh(t: Tensor, p: Tensor) -> Tensor:
    size = (p - t).abs()
    return size + torch.log1p(torch.exp(-2 * size)) - torch.tensor(2.0, dtype=t.dtype).log()


def poisson(t: Tensor, p: Tensor, epsilon: float) -> Tensor:
    return p - t * (p + epsilon).log()


def _signs(t: Tensor) -> Tensor:
    return torch.where(((t == 0) | (t == 1)).all(), 2 * t - 1, t)


def hinge(t: Tensor, p: Tensor) -> Tensor:
    return (1 - _signs(t) * p).clamp(min=0)


def squared_hinge(t: Tensor, p: Tensor) -> Tensor:
    return hinge(t, p) ** 2


def kl_divergence(t: Tensor, p: Tensor, epsilon: float) -> Tensor:
    t = t.clamp(epsilon, 1)
    return t * (t / p.clamp(epsilon, 1)).log()


def pinball(t: Tensor, p: Tensor, tau: float) -> Tensor:
    # Not the larger of both, which would share the slope where they meet.
    error = t - p
    return torch.where(error < 0, (tau - 1) * error, tau * error)


def binary_crossentropy(
    t: Tensor, p: Tensor, label_smoothing: float, epsilon: float, column: Tensor | float = 1.0
) -> Tensor:
    t = t * (1 - label_smoothing) + label_smoothing / 2
    p = p.clamp(epsilon, 1 - epsilon)
    return -(column * t * p.log() + (1 - t) * torch.log1p(-p))


def binary_crossentropy_from_logits(
    t: Tensor, x: Tensor, label_smoothing: float, column: Tensor | float = 1.0
) -> Tensor:
    t = t * (1 - label_smoothing) + label_smoothing / 2
    return column * t * softplus(-x) + (1 - t) * softplus(x)


def binary_focal_crossentropy(
    t: Tensor,
    p: Tensor,
    label_smoothing: float,
    gamma: float,
    base: float,
    balance: float,
    epsilon: float,
) -> Tensor:
    entropy = binary_crossentropy(t, p, label_smoothing, epsilon)
    t = t * (1 - label_smoothing) + label_smoothing / 2
    miss = t * (1 - p) + (1 - t) * p
    return (base + balance * t) * miss**gamma * entropy


def binary_focal_crossentropy_from_logits(
    t: Tensor, x: Tensor, label_smoothing: float, gamma: float, base: float, balance: float
) -> Tensor:
    entropy = binary_crossentropy_from_logits(t, x, label_smoothing)
    t = t * (1 - label_smoothing) + label_smoothing / 2
    miss = t * torch.sigmoid(-x) + (1 - t) * torch.sigmoid(x)
    return (base + balance * t) * miss**gamma * entropy


class Subject(NamedTuple):
    """A loss with parameters and what its predictions are: numbers, shares or logits."""

    formula: Callable[..., Tensor]
    parameters: tuple[float, ...] = ()
    predictions: str = "numbers"
    column: bool = False  # takes a column weight
    mean: bool = True  # a row's values are averaged, else added

    @property
    def name(self) -> str:
        return self.formula.__name__


SUBJECTS = (
    Subject(mean_squared_error),
    Subject(mean_absolute_error),
    Subject(mean_absolute_percentage_error, (EPSILON,)),
    Subject(mean_squared_logarithmic_error, (EPSILON,), "shares"),
    Subject(huber, (0.7,)),
    Subject(log_cosh),
    Subject(poisson, (EPSILON,), "shares"),
    Subject(hinge),
    Subject(squared_hinge),
    Subject(kl_divergence, (EPSILON,), "shares", mean=False),
    Subject(pinball, (0.9,)),
    Subject(binary_crossentropy, (0.1, EPSILON), "shares", column=True),
    Subject(binary_crossentropy_from_logits, (0.0,), "logits", column=True),
    Subject(binary_focal_crossentropy, (0.0, 2.0, 0.75, -0.5, EPSILON), "shares"),
    Subject(binary_focal_crossentropy, (0.1, 1.5, 0.75, -0.5, EPSILON), "shares"),
    Subject(binary_focal_crossentropy_from_logits, (0.0, 2.0, 1.0, 0.0), "logits"),
    Subject(binary_focal_crossentropy_from_logits, (0.1, 1.5, 0.75, -0.5), "logits"),
)
