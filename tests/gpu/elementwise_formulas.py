"""The elementwise losses as formulas in PyTorch, to be taken in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from checks import as_float64
from library import MEAN, MEAN_WITH_SAMPLE_WEIGHT, NONE
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


@dataclass(frozen=True)
class Truth:
    loss: Tensor
    gradient: Tensor
    values: tuple[Tensor, ...]


def truth(
    subjects: tuple[Subject, ...],
    factors: tuple[float, ...],
    y_true: Tensor,
    y_pred: Tensor,
    reduction: int,
    weight: Tensor | None,
    column: Tensor | None,
    upstream: Tensor | None,
    replicas: int,
) -> Truth:
    """Loss and gradient in float64; `weight` is that of each row."""
    t, p = as_float64(y_true), as_float64(y_pred).requires_grad_()
    rows = p.shape[0]
    by_row = torch.ones(rows, dtype=torch.float64, device=p.device)
    if weight is not None:
        by_row = as_float64(weight)
    divisor = 1.0
    if reduction in (MEAN, MEAN_WITH_SAMPLE_WEIGHT):
        counted = reduction == MEAN_WITH_SAMPLE_WEIGHT and weight is not None
        divisor = (float(by_row.sum()) if counted else float(rows)) * replicas
    inverse = 1 / divisor if divisor else 0.0
    values, total = [], torch.zeros(rows, dtype=torch.float64, device=p.device)
    for subject, factor in zip(subjects, factors, strict=True):
        options = {} if column is None else {"column": as_float64(column)}
        each = subject.formula(t, p, *subject.parameters, **options)
        row = (each.mean(1) if subject.mean else each.sum(1)) * by_row
        values.append(row if reduction == NONE else row.sum() * inverse)
        total = total + factor * row
    loss = total if reduction == NONE else total.sum() * inverse
    above = torch.ones_like(loss) if upstream is None else as_float64(upstream)
    (gradient,) = torch.autograd.grad(loss, p, above)
    return Truth(loss.detach(), gradient, tuple(value.detach() for value in values))
