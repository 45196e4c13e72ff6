"""The overlap losses as formulas of PyTorch, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from calls import Regions, Truth
from checks import as_float64
from elementwise_formulas import binary_crossentropy_from_logits, mean_squared_error
from library import MEAN, MEAN_WITH_SAMPLE_WEIGHT, NONE, Term
from torch import Tensor

SIGMOID, SOFTMAX = 1, 2


def _over(numerator: Tensor, denominator: Tensor, smooth: Sequence[float]) -> Tensor:
    return 1 - (numerator + smooth[0]) / (denominator + smooth[1])


def _tversky(
    hit: Tensor, p: Tensor, t: Tensor, alpha: float, beta: float, *smooth: float
) -> Tensor:
    return _over(hit, hit + alpha * (t - hit) + beta * (p - hit), smooth)


def _dice(hit: Tensor, p: Tensor, t: Tensor, *smooth: float) -> Tensor:
    return _over(2 * hit, p + t, smooth)


def _jaccard(hit: Tensor, p: Tensor, t: Tensor, *smooth: float) -> Tensor:
    return _over(hit, p + t - hit, smooth)


def _focal_tversky(
    hit: Tensor, p: Tensor, t: Tensor, alpha: float, beta: float, gamma: float, *smooth: float
) -> Tensor:
    loss = _tversky(hit, p, t, alpha, beta, *smooth)
    # Regions that overlap entirely, as those of ignored positions do, have no slope.
    safe = torch.where(loss > 0, loss, torch.ones_like(loss))
    return torch.where(loss > 0, safe**gamma, torch.zeros_like(loss))


def _log_cosh_dice(hit: Tensor, p: Tensor, t: Tensor, *smooth: float) -> Tensor:
    return _dice(hit, p, t, *smooth).cosh().log()


def _matthews(hit: Tensor, p: Tensor, t: Tensor, count: Tensor, *smooth: float) -> Tensor:
    product = p * (count - p) * t * (count - t)
    # Where labels or predictions are constant, the root has no derivative.
    root = torch.where(product > 0, product, torch.ones_like(product)).sqrt() * (product > 0)
    return _over(count * hit - p * t, root, smooth)


ALONE: dict[str, Callable[..., Tensor]] = {
    "dice": _dice,
    "tversky": _tversky,
    "jaccard": _jaccard,
    "focal_tversky": _focal_tversky,
    "log_cosh_dice": _log_cosh_dice,
}


def alone(loss: Term, hit: Tensor, p: Tensor, t: Tensor, count: Tensor) -> Tensor:
    """The loss of each group by its sums, over `count` positions."""
    if loss.loss == "matthews":
        return _matthews(hit, p, t, count, *loss.parameters)
    return ALONE[loss.loss](hit, p, t, *loss.parameters)


def generalized_dice(
    hit: Tensor, p: Tensor, t: Tensor, weight: Tensor | None, power: float, *smooth: float
) -> Tensor:
    """Of all classes together, which are the last dimension."""
    present = torch.where(t > 0, t.clamp(min=1e-30) ** -power, torch.zeros_like(t))
    largest = present.amax(-1, keepdim=True)
    of_class = torch.where(t > 0, present, torch.where(largest > 0, largest, torch.ones_like(t)))
    if weight is not None:
        of_class = of_class * weight
    return _over(2 * (of_class * hit).sum(-1), (of_class * (p + t)).sum(-1), smooth)


def _rows(name: str, parameters: Sequence[float], t: Tensor, x: Tensor) -> Tensor:
    """A fused term after a softmax, for each position; classes are dimension 2."""
    log_p = torch.log_softmax(x, 2)
    if "generalized" in name:
        (q,) = parameters
        each = -torch.expm1(q * log_p) / q
    elif "focal" in name:
        alpha, gamma = parameters
        each = -alpha * (1 - log_p.exp()) ** gamma * log_p
    else:
        each = -log_p
    return (t * each).sum(2)


def _fused_term(
    term: Term, t: Tensor, x: Tensor, counted: Tensor, options: Regions, reduction: int
) -> Tensor:
    if options.activation == SOFTMAX:
        # Selected first, as ignored positions may hold anything.
        safe = torch.where(counted, x, torch.zeros_like(x))
        each = _rows(term.loss, term.parameters, t, safe) * counted.squeeze(2)
        count = float(counted.sum())
    else:
        formula = {f.__name__: f for f in (mean_squared_error, binary_crossentropy_from_logits)}
        each = formula[term.loss](t, x, *term.parameters)
        count = float(x.numel())
    divisor = count if reduction == MEAN else 1.0
    return each.sum() / divisor if divisor else 0 * each.sum()


def one_hot(label: Tensor, classes: int) -> Tensor:
    """`(outer, above, inner)` to `(outer, above, classes, inner)`."""
    rows = torch.nn.functional.one_hot(label.clamp(0, classes - 1), classes)
    return rows.permute(0, 1, 3, 2).double()


def truth(
    loss: Term,
    y_true: Tensor,
    y_pred: Tensor,
    options: Regions,
    reduction: int,
    weight: Tensor | None,
    class_weight: Tensor | None,
    fused_terms: Sequence[Term],
    upstream: Tensor | None,
) -> Truth:
    leaf = y_pred.double().requires_grad_()
    counted = torch.ones_like(leaf[:, :, :1], dtype=torch.bool)
    if options.sparse:
        label = y_true.to(torch.int64)
        t = one_hot(label, leaf.shape[2])
        if options.ignore_class is not None:
            counted = (label != options.ignore_class).unsqueeze(2)
    else:
        t = as_float64(y_true)
        if options.ignore_class is not None:
            others = torch.arange(t.shape[2], device=t.device) != options.ignore_class
            counted = (t * others.view(-1, 1) != 0).any(2, keepdim=True)
    t = t * counted
    p = torch.where(counted, leaf, torch.zeros_like(leaf))
    if options.activation == SIGMOID:
        p = p.sigmoid()
    elif options.activation == SOFTMAX:
        p = torch.softmax(p, 2)
    p = p * counted
    over = (1, 3) if options.per_outer else (0, 1, 3)
    sums = [
        x.sum(over).view(-1, leaf.shape[2])
        for x in (
            t * p,
            p**2 if options.squared else p,
            t**2 if options.squared else t,
            counted.expand_as(p).double(),
        )
    ]
    weights = None if class_weight is None else class_weight.double()
    if options.skip_background:
        sums = [x[:, 1:] for x in sums]
        weights = None if weights is None else weights[1:]
    if loss.loss == "generalized_dice":
        groups = generalized_dice(*sums[:3], weights, *loss.parameters)
    elif options.per_class:
        groups = alone(loss, *sums)
        groups = (groups if weights is None else groups * weights).reshape(-1)
    else:
        groups = alone(loss, *(x.sum(1) for x in sums))
    of_group = torch.ones_like(groups) if weight is None else weight.double()
    groups = groups * of_group
    counts = reduction == MEAN_WITH_SAMPLE_WEIGHT
    divisor = float(of_group.sum()) if counts else len(groups) if reduction == MEAN else 1.0
    values = [groups if reduction == NONE else groups.sum() / divisor]
    values += [_fused_term(c, t, leaf, counted, options, reduction) for c in fused_terms]
    total = values[0] * (loss.factor if fused_terms else 1.0)
    for fused_term, value in zip(fused_terms, values[1:], strict=True):
        total = total + fused_term.factor * value
    above = torch.ones_like(total) if upstream is None else upstream.double()
    (gradient,) = torch.autograd.grad(total, leaf, above)
    # An ignored NaN would pass on to its own slope.
    gradient = torch.where(counted, gradient, torch.zeros_like(gradient))
    stacked = torch.stack([v.detach().reshape(-1)[0] for v in values])
    return Truth(total.detach(), gradient, stacked)
