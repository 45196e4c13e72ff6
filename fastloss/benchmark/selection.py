def parse_shape(text: str) -> tuple[int, ...]:
    """Reads `16384x1024` (or `16384,1024`).

    Args:
        text: Extents separated by `x` or commas.

    Returns:
        The shape.

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


def select_losses(names: Iterable[str]) -> tuple[LossSpec, ...]:
    """The losses of these names; all of them for no name.

    Args:
        names: Names as in `LossSpec.name`; a name stands for all its variants.

    Returns:
        The losses, in the order of `LOSSES`.

    Raises:
        ValueError: There is no loss of that name.
    """
    wanted = list(names)
    known = list(dict.fromkeys(loss.name for loss in LOSSES))
    for name in wanted:
        if name not in known:
            raise ValueError(f"loss is {name!r}, but must be one of {', '.join(known)}.")
    return tuple(loss for loss in LOSSES if not wanted or loss.name in wanted)


def select_cases(
    shapes: Iterable[str], dtypes: Iterable[str], *, quick: bool = False
) -> tuple[Case, ...]:
    """The cases for these shapes and dtypes.

    Args:
        shapes: Shapes as `parse_shape` reads them; none takes the default ones.
        dtypes: Names of float types; none takes float32, or the default cases if `shapes` is
            empty too.
        quick: Whether the smaller default cases are taken.

    Returns:
        Every shape with every dtype.

    Raises:
        ValueError: A shape or a dtype is not valid.
    """
    wanted_shapes = [parse_shape(text) for text in shapes]
    wanted_dtypes = list(dtypes)
    for dtype in wanted_dtypes:
        if dtype not in ITEM_SIZE:
            raise ValueError(f"dtype is {dtype!r}, but must be one of {', '.join(ITEM_SIZE)}.")
    defaults = QUICK_CASES if quick else DEFAULT_CASES
    if not wanted_shapes and not wanted_dtypes:
        return defaults
    wanted_shapes = wanted_shapes or list(dict.fromkeys(case.shape for case in defaults))
    wanted_dtypes = wanted_dtypes or ["float32"]
    return tuple(Case(shape, dtype) for dtype in wanted_dtypes for shape in wanted_shapes)


