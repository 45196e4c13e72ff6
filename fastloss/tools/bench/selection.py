"""What the user chose to measure, read from the words of the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastloss.tools.bench.cases import ITEM_SIZE, LOSSES, Case, LossSpec

Pair = tuple[LossSpec, Case]


def parse_shape(text: str) -> tuple[int, ...]:
    """Reads `16384x1024`, or `16384,1024`.

    Raises:
        ValueError: The text is not a shape of positive extents.
    """
    parts = text.lower().replace(",", "x").strip("[]() ").split("x")
    try:
        shape = tuple(int(part) for part in parts)
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ValueError(
            f"shape is {text!r}, but must be positive whole numbers joined by 'x', "
            "as in 16384x1024."
        )
    return shape


def select_losses(
    names: Iterable[str], losses: Sequence[LossSpec] = LOSSES
) -> tuple[LossSpec, ...]:
    """The losses of these names, in their order; all of them for no name.

    A name stands for all variants of a loss, the name of a family for its losses.

    Raises:
        ValueError: There is no loss or family of that name.
    """
    wanted = list(names)
    families = dict.fromkeys(loss.family for loss in losses)
    known = [*families, *dict.fromkeys(loss.name for loss in losses)]
    for name in wanted:
        if name not in known:
            raise ValueError(f"loss is {name!r}, but must be one of {', '.join(known)}.")
    return tuple(
        loss for loss in losses if not wanted or loss.name in wanted or loss.family in wanted
    )


def section(spec: LossSpec, case: Case) -> str:
    """The heading under which a measurement stands; geometric means are over what shares it.

    Losses over rows, of regions, and between boxes do other work than losses of single values, and
    sums do that of several, so they are not averaged together.
    """
    heading = f"{case.shape_text} {case.dtype}"
    single = ("regression", "classification", "distribution")
    return heading if spec.family in single else f"{heading}, {spec.family}"


def select_pairs(
    losses: Sequence[LossSpec],
    shapes: Iterable[str] = (),
    dtypes: Iterable[str] = (),
    *,
    quick: bool = False,
) -> tuple[Pair, ...]:
    """The losses with the cases to measure them on, section by section.

    Without shapes and dtypes these are the cases of each loss, the smaller ones for `quick`. Shapes
    alone are measured in float32, dtypes alone on the shapes of each loss.

    Raises:
        ValueError: A shape or a dtype is not valid.
    """
    wanted_shapes = [parse_shape(text) for text in shapes]
    wanted_dtypes = list(dtypes)
    for dtype in wanted_dtypes:
        if dtype not in ITEM_SIZE:
            raise ValueError(f"dtype is {dtype!r}, but must be one of {', '.join(ITEM_SIZE)}.")

    def cases(loss: LossSpec) -> tuple[Case, ...]:
        defaults = loss.cases.quick if quick else loss.cases.full
        if not wanted_shapes and not wanted_dtypes:
            return defaults
        chosen = wanted_shapes or list(dict.fromkeys(case.shape for case in defaults))
        return tuple(
            Case(shape, dtype) for dtype in wanted_dtypes or ["float32"] for shape in chosen
        )

    sections: dict[str, list[Pair]] = {}
    for loss in losses:
        for case in cases(loss):
            sections.setdefault(section(loss, case), []).append((loss, case))
    return tuple(pair for pairs in sections.values() for pair in pairs)
