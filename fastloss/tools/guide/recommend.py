"""`recommend`, which looks at data and names losses for them."""

from __future__ import annotations

from typing import Any

from fastloss.tools.guide.choose import choose, known_task, seen_task
from fastloss.tools.guide.facts import look
from fastloss.tools.guide.recommendation import Recommendations


def recommend(y_true: Any, y_pred: Any = None, task: str | None = None) -> Recommendations:
    """Losses for these data, their parameters set from them, the best first.

        for one in fl.recommend(y_train, model.predict(x_train)):
            print(one.code, one.reason)
        model.compile("adam", loss=fl.recommend(y_train)[0].loss)

    Of large arrays a sample is looked at, at most a million values, always the same: the same data
    give the same answer. What cannot be seen from the data is assumed, and the reason says so.

    Example:
        >>> found = fl.recommend([0.1, 0.7, 1.2, 0.4, 0.9])
        >>> found.task, found[0].code
        ('regression', 'fl.MeanSquaredError()')

    Args:
        y_true: Labels, `(batch, d0, .. dN)`: an array, a tensor, a list, or a `tf.data` dataset of
            batches `y` or `(x, y, ...)`, of which the first are looked at; boolean, integer or
            float.
        y_pred: What a model makes of them, if there is one: of the same shape, or with one more
            axis, of the classes. It says whether the model gives logits or probabilities, how large
            its errors are, and how many classes there are.
        task: "regression", "counts", "binary", "multi-class", "imbalanced", "multi-label",
            "segmentation", "similarity", "distribution", "svm", "sequence" or "detection". None
            (the default) is what the labels look like.

    Returns:
        A list of `Recommendation`, with `loss`, `code`, `reason` and `alternatives`; it prints as a
        text.

    Raises:
        ValueError: If the data are no finite numbers, do not belong together, or are none for the
            task.

    Reference: Cui et al., Class-balanced loss based on effective number of samples, 2019
    (arXiv:1901.05555), for weights of classes; Huber, Robust estimation of a location parameter,
    1964, for delta; Salehi et al., Tversky loss function for image segmentation, 2017
    (arXiv:1706.05721), for alpha and beta.
    """
    task = known_task(task)
    facts = look(y_true, y_pred, task)
    if task is None:
        task = seen_task(facts)
    return Recommendations(choose(facts, task), task, facts)
