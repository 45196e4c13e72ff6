"""The rowwise losses as formulas of PyTorch, in float64.

Labels and predictions have shape `(outer, classes, inner)`, of which the formulas remove dimension
1; class labels are one-hot rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from calls import Rows, Truth
from checks import as_float64
from library import MEAN, MEAN_WITH_SAMPLE_WEIGHT, NONE
from torch import Tensor

# The smallest normal number of float32, below which a mixture is not taken.
TINY = 2.0**-126


def weighed(t: Tensor, x: Tensor) -> Tensor:
    """`t * x`, 0 for a weight of 0 even where x is infinite."""
    return torch.where(t == 0, torch.zeros_like(x), t * torch.where(t == 0, torch.ones_like(x), x))


def shares(x: Tensor) -> Tensor:
    return x / x.sum(1, keepdim=True)


def categorical_crossentropy(t: Tensor, x: Tensor, epsilon: float) -> Tensor:
    return -(t * shares(x).clamp(epsilon, 1 - epsilon).log()).sum(1)


def categorical_crossentropy_from_logits(t: Tensor, x: Tensor) -> Tensor:
    return -weighed(t, torch.log_softmax(x, 1)).sum(1)


def sparse_categorical_crossentropy(t: Tensor, x: Tensor, epsilon: float) -> Tensor:
    return -(t * shares(x.clamp(epsilon, 1 - epsilon)).log()).sum(1)


def categorical_focal_crossentropy(
    t: Tensor, x: Tensor, alpha: float, gamma: float, epsilon: float
) -> Tensor:
    p = shares(x).clamp(epsilon, 1 - epsilon)
    return -(t * alpha * (1 - p) ** gamma * p.log()).sum(1)


def categorical_focal_crossentropy_from_logits(
    t: Tensor, x: Tensor, alpha: float, gamma: float
) -> Tensor:
    log_p = torch.log_softmax(x, 1)
    return -weighed(t, alpha * (1 - log_p.exp()) ** gamma * log_p).sum(1)


def categorical_generalized_cross_entropy(t: Tensor, p: Tensor, q: float) -> Tensor:
    return (t * (1 - p**q) / q).sum(1)


def categorical_generalized_cross_entropy_from_logits(t: Tensor, x: Tensor, q: float) -> Tensor:
    return -(t * torch.expm1(q * torch.log_softmax(x, 1)) / q).sum(1)


def categorical_hinge(t: Tensor, x: Tensor) -> Tensor:
    return (((1 - t) * x).amax(1) - (t * x).sum(1) + 1).clamp(min=0)


def cosine_similarity(t: Tensor, x: Tensor, epsilon: float) -> Tensor:
    def direction(v: Tensor) -> Tensor:
        return v / v.norm(dim=1, keepdim=True).clamp(min=epsilon)

    return -(direction(t) * direction(x)).sum(1)


def _divergence(p: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
    return weighed(p, log_p - log_q).sum(1)


def kl_divergence_from_logits(t: Tensor, x: Tensor) -> Tensor:
    log_t = torch.log_softmax(t, 1)
    return _divergence(log_t.exp(), log_t, torch.log_softmax(x, 1))


def reverse_kl_divergence_from_logits(t: Tensor, x: Tensor) -> Tensor:
    return kl_divergence_from_logits(x, t)


def jensen_shannon_divergence_from_logits(t: Tensor, x: Tensor, beta: float) -> Tensor:
    log_t, log_x = torch.log_softmax(t, 1), torch.log_softmax(x, 1)
    log_m = (beta * log_t.exp() + (1 - beta) * log_x.exp()).clamp(min=TINY).log()
    of_t = beta * _divergence(log_t.exp(), log_t, log_m)
    return of_t + (1 - beta) * _divergence(log_x.exp(), log_x, log_m)


class RowSubject(NamedTuple):
    """A loss with parameters; `sparse` if a label is a class."""

    formula: Callable[..., Tensor]
    parameters: tuple[float, ...] = ()
    sparse: bool = False
    name: str = ""  # by default the formula's
    smooths: bool = True

    @property
    def loss(self) -> str:
        return self.name or self.formula.__name__

    @property
    def logits(self) -> bool:
        return self.loss.endswith("from_logits")

    @property
    def labels_are_logits(self) -> bool:
        return "divergence" in self.loss


# 1 - EPSILON is exact in float32: the logarithm of what is clipped there has all its digits.
EPSILON = 2.0**-23
SUBJECTS = (
    RowSubject(categorical_crossentropy, (EPSILON,)),
    RowSubject(categorical_crossentropy_from_logits),
    RowSubject(sparse_categorical_crossentropy, (EPSILON,), True),
    RowSubject(
        categorical_crossentropy_from_logits,
        sparse=True,
        name="sparse_categorical_crossentropy_from_logits",
    ),
    *(
        RowSubject(categorical_focal_crossentropy, (0.25, gamma, EPSILON), sparse, name)
        for gamma in (2.0, 1.5)
        for sparse, name in ((False, ""), (True, "sparse_categorical_focal_crossentropy"))
    ),
    *(
        RowSubject(categorical_focal_crossentropy_from_logits, (0.25, gamma), sparse, name)
        for gamma in (2.0, 1.5)
        for sparse, name in (
            (False, ""),
            (True, "sparse_categorical_focal_crossentropy_from_logits"),
        )
    ),
    RowSubject(categorical_generalized_cross_entropy, (0.7,), True, smooths=False),
    RowSubject(categorical_generalized_cross_entropy_from_logits, (0.7,), True, smooths=False),
    RowSubject(categorical_hinge),
    RowSubject(categorical_hinge, sparse=True, name="sparse_categorical_hinge"),
    RowSubject(cosine_similarity, (EPSILON,)),
    RowSubject(kl_divergence_from_logits, smooths=False),
    RowSubject(reverse_kl_divergence_from_logits, smooths=False),
    RowSubject(jensen_shannon_divergence_from_logits, (0.3,), smooths=False),
)


def one_hot(label: Tensor, classes: int) -> Tensor:
    """`(outer, inner)` to `(outer, classes, inner)`."""
    index = label.to(torch.int64).clamp(0, classes - 1).unsqueeze(1)
    rows = torch.zeros(
        (label.shape[0], classes, label.shape[1]), dtype=torch.float64, device=label.device
    )
    return rows.scatter_(1, index, 1.0)


def scale_logits(x: Tensor, options: Rows) -> Tensor:
    if options.logit_softcap:
        x = options.logit_softcap * torch.tanh(x / options.logit_softcap)
    return x / options.temperature


def counted_rows(subject: RowSubject, y_true: Tensor, options: Rows) -> Tensor:
    """Of each row, `(outer, inner)`, whether it is not ignored."""
    labels = as_float64(y_true)
    if options.ignore_class is None:
        return torch.ones_like(labels if subject.sparse else labels[:, 0], dtype=torch.bool)
    if subject.sparse:
        return labels != options.ignore_class
    others = torch.arange(labels.shape[1], device=labels.device) != options.ignore_class
    return (labels * others.view(-1, 1) != 0).any(1)


def truth(
    subject: RowSubject,
    y_true: Tensor,
    y_pred: Tensor,
    options: Rows,
    reduction: int,
    weight: Tensor | None,
    class_weight: Tensor | None,
    replicas: int,
    upstream: Tensor | None,
) -> Truth:
    leaf = y_pred.double().requires_grad_()
    classes = leaf.shape[1]
    counted = counted_rows(subject, y_true, options)
    t = as_float64(y_true)
    t = one_hot(t, classes) if subject.sparse else t
    if subject.labels_are_logits:
        t = t / options.temperature
    smoothing = options.label_smoothing
    t = t * (1 - smoothing) + smoothing / classes if smoothing else t
    if class_weight is not None:
        t = t * class_weight.double().view(-1, 1)
    # Selected first, as ignored rows may hold anything.
    x = torch.where(counted.unsqueeze(1), leaf, torch.full_like(leaf, 0.5))
    x = scale_logits(x, options) if subject.logits else x
    each = subject.formula(t, x, *subject.parameters)
    if options.z_loss:
        each = each + options.z_loss * torch.logsumexp(x, 1) ** 2
    by_row = counted.double()
    if weight is not None:
        by_row = by_row * weight.double().view(by_row.shape)
    each = torch.where(counted, each, torch.zeros_like(each)) * by_row
    divisor = 1.0
    if reduction in (MEAN, MEAN_WITH_SAMPLE_WEIGHT):
        counts = by_row if reduction == MEAN_WITH_SAMPLE_WEIGHT else counted
        divisor = float(counts.sum()) * replicas
    loss = each.reshape(-1) if reduction == NONE else each.sum() * (1 / divisor if divisor else 0)
    above = torch.ones_like(loss) if upstream is None else upstream.double()
    (gradient,) = torch.autograd.grad(loss, leaf, above)
    return Truth(loss.detach(), gradient)
