"""The report on a step that was not finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from fastloss.tools.diagnose import Batch, Finding, Report, Severity, diagnose
from fastloss.tools.diagnose.batch import counted, is_finite, listed, span, wide
from fastloss.tools.diagnose.evaluation import evaluate
from fastloss.tools.diagnose.finding import merged
from fastloss.tools.monitor.hooks import Hooks
from fastloss.tools.monitor.watched_loss import VALUE_IS_BAD, Inputs, WatchedLoss

_DONE = {
    "stop": "Training stops; neither this batch nor one after it has changed the model.",
    "skip": "The batch is skipped, as others like it will be; training goes on.",
    "report": "The update has been applied, and training goes on.",
}


def batch_of(inputs: Inputs) -> Batch:
    """What a loss was called with, as arrays."""
    return Batch(*(None if x is None else np.asarray(x) for x in inputs))


def report(hooks: Hooks, batches: Mapping[str, Batch], where: str) -> Report:
    """Why a step was not finite.

    Args:
        hooks: What watched it.
        batches: What the losses that were not finite were called with, as far as is known.
        where: Epoch and batch.
    """
    bad = [loss for loss in hooks.losses if loss.first_bad.numpy()]
    facts: list[str] = []
    findings = list(_of_model_inputs(hooks))
    for loss in bad:
        facts += _facts(loss, batches.get(loss.name), len(hooks.losses) > 1)
        for found in _findings(loss, batches.get(loss.name)):
            terms = tuple(f"{loss.name}/{term}" for term in found.terms) or (loss.name,)
            several = len(hooks.losses) > 1
            findings.append(Finding(*_sentences(found), terms) if several else found)
    if not bad:
        findings.append(_of_weights())
    facts.append(_DONE[hooks.on_nonfinite])
    return Report(f"A step was not finite: {where} (from 0).", tuple(facts), merged(findings))


def _facts(loss: WatchedLoss, batch: Batch | None, is_one_of_several: bool) -> Iterator[str]:
    record = loss.first_step()
    value = record.value / record.samples if record.samples else float("nan")
    of_value = bool(loss.first_bad.numpy() & VALUE_IS_BAD)
    output = f"output {loss.name!r}: " if is_one_of_several else ""
    what = f"is {value:g}" if of_value else f"is {value:.4g}, but its gradient is not finite"
    yield f"{output}the loss {loss.loss.name} {what}"
    if loss.terms:
        terms = zip(loss.terms, record.terms, strict=True)
        yield "terms: " + ", ".join(f"{name} {x / record.samples:.4g}" for name, x in terms)
    if batch is None:
        return
    samples = evaluate(loss.loss, batch).bad_samples(batch.size)
    if len(samples):
        true = batch.true[samples] if len(batch.true) == batch.size else batch.true
        yield (
            f"not finite: {listed(samples)} of {batch.size} in the batch; there y_true is "
            f"{span(true)}, y_pred {span(batch.pred[samples])}"
        )
    yield from batch.facts()


def _findings(loss: WatchedLoss, batch: Batch | None) -> tuple[Finding, ...]:
    if batch is None:
        return (
            Finding(
                "batch_not_kept",
                Severity.ERROR,
                "The labels and predictions of this batch are not at hand.",
                "With both jit_compile and steps_per_execution, or where train_step computes the "
                "loss in a function of its own, the monitor cannot keep them.",
                "Train with steps_per_execution=1 to see samples and cause, or call fl.check on "
                "the data.",
            ),
        )
    found = diagnose(loss.loss, batch)
    if any(one.severity is Severity.ERROR for one in found):
        return found
    again = Finding(
        "not_reproduced",
        Severity.ERROR,
        "Computed again from y_true and y_pred, loss and gradient are finite.",
        "The step differs from that: it may have gone back to logits behind y_pred that are "
        "infinite, or XLA computes in another order.",
        "Look at the logits: end the model without an activation, set from_logits=True, and train "
        "again with the monitor.",
    )
    return (again, *found)


def _of_model_inputs(hooks: Hooks) -> Iterator[Finding]:
    for x in map(wide, hooks.snapshot.model_inputs()):
        bad = ~is_finite(x)
        if bad.any():
            yield Finding(
                "nan_in_inputs",
                Severity.ERROR,
                f"{counted(bad, 'values of x')}, are NaN or infinite; x has shape {x.shape}.",
                "The inputs of the model come so from the data; layers that mix samples, such as "
                "BatchNormalization, spread them over the batch.",
                "Leave these samples out, or fill in what is missing.",
            )


def _of_weights() -> Finding:
    return Finding(
        "nan_in_weight_gradients",
        Severity.ERROR,
        "The losses and their gradients by y_pred are finite, the gradients of the weights are "
        "not.",
        "The network's backward pass makes them: a root or norm at 0, a division by a variance of "
        "0, an overflow of half precision; or a regularizer does.",
        "tf.debugging.enable_check_numerics() names the operation; a small number inside of the "
        "root or the denominator is the usual cure.",
    )


def _sentences(found: Finding) -> tuple[str, Severity, str, str, str]:
    return found.name, found.severity, found.seen, found.cause, found.cure
