"""How far numbers lie from their middle, by statistics that outliers do not move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastloss.tools.guide.arrays import Array

_CONSISTENT = 1.4826  # a normal distribution's standard deviation over its MAD
_FAR = 3.5  # standard deviations; Iglewicz and Hoaglin
_EFFICIENT = 1.345  # standard deviations; Huber's delta that is 95 % efficient for normal errors


@dataclass(frozen=True)
class Spread:
    """The spread of errors or, without predictions, of labels.

    Attributes:
        scale: Standard deviation by the median of the absolute deviations (MAD); by their mean,
            where more than half are 0.
        outliers: Share of the values beyond 3.5 of these, of their column.
        outlier_squares: Their share of the squared deviations, so of what a squared error sees.
        column_ratio: The largest scale of a column over the smallest, of those that vary.
        of_errors: Whether these are errors, of predictions.
    """

    scale: float
    outliers: float
    outlier_squares: float
    column_ratio: float
    of_errors: bool

    @property
    def has_outliers(self) -> bool:
        """Whether over a tenth of the squares is theirs; for normal errors it is under 1 %."""
        return self.outlier_squares > 0.1

    @property
    def huber_delta(self) -> float:
        """The delta that keeps 95 % of the squared error's efficiency for normal errors.

        Reference: Huber, Robust estimation of a location parameter, 1964; Holland and Welsch,
        Robust regression using iteratively reweighted least-squares, 1977.
        """
        return _EFFICIENT * self.scale


def spread(values: Array, of_errors: bool) -> Spread:
    """The spread of `(rows, columns)` about the median of each column.

    Reference: Iglewicz and Hoaglin, How to detect and handle outliers, 1993.
    """
    deviations = np.abs(values.astype(np.float64) - np.median(values, axis=0))
    columns = _CONSISTENT * np.median(deviations, axis=0)
    scale = _CONSISTENT * float(np.median(deviations))
    if scale == 0:
        # The mean absolute deviation of a normal distribution is sqrt(2 / pi) of its standard one.
        scale = float(np.sqrt(np.pi / 2) * np.mean(deviations))
    varying = columns[columns > 0]
    ratio = float(varying.max() / varying.min()) if varying.size else 1.0
    # In units of its column, that of another unit is no outlier.
    deviations /= np.where(columns > 0, columns, scale or 1.0)
    far = deviations > _FAR
    squares = np.square(deviations, out=deviations)
    total = float(squares.sum())
    share = float(squares[far].sum()) / total if total else 0.0
    return Spread(scale, float(far.mean()), share, ratio, of_errors)


def spans_orders(values: Array) -> bool:
    """Whether positive numbers span two orders of magnitude, without outliers in logarithms."""
    if values.min() < 0:
        return False
    low, high = np.quantile(values, (0.05, 0.95))
    return (1 + high) > 100 * (1 + low) and not spread(np.log1p(values), False).has_outliers
