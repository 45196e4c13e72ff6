"""The last layer of a language model with its loss: time and memory against the number of tokens.

Keras makes the logits, (tokens, vocabulary), and their gradient; fastloss holds a chunk of them.
Every measurement runs in a process of its own under a limit on its memory, so that one that does
not fit says so and harms nobody. The contenders take turns.

    python bench/linear.py --output linear.csv
"""

from __future__ import annotations

import csv
import json
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

TOKENS = (1024, 4096, 16384, 65536)
CONTENDERS = ("keras_graph", "fastloss_graph")
OUT_OF_MEMORY = "out of memory"
# What a process may take of the memory that is free, so that the machine is not driven to swap.
SHARE = 0.85


def loss_of(contender: str, y_true: Any) -> Callable[[Any, Any], Any]:
    """The loss of hidden states and kernel, as a contender computes it."""
    import keras
    import tensorflow as tf

    import fastloss as fl

    if contender == "fastloss_graph":
        return lambda hidden, kernel: tf.reduce_mean(
            fl.linear_sparse_categorical_crossentropy(y_true, hidden, kernel)
        )
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return lambda hidden, kernel: crossentropy(y_true, tf.matmul(hidden, kernel))


def measure(contender: str, tokens: int, hidden: int, vocabulary: int, with_peak: bool) -> None:
    """Times forward and gradient in this process and prints what was found as JSON."""
    import numpy as np
    import tensorflow as tf

    from fastloss.tools.bench import memory

    random = np.random.default_rng(0)
    states = tf.constant(random.standard_normal((tokens, hidden), dtype=np.float32))
    kernel = tf.constant(random.standard_normal((hidden, vocabulary), dtype=np.float32) * 0.05)
    loss = loss_of(contender, tf.constant(random.integers(0, vocabulary, tokens), tf.int32))

    @tf.function(autograph=False)
    def step(states: Any, kernel: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([states, kernel])
            value = loss(states, kernel)
        return value, *tape.gradient(value, [states, kernel])

    def call() -> float:
        return float(step(states, kernel)[0])

    found = {"value": call()}
    start = time.perf_counter()
    call()
    found["ms"] = (time.perf_counter() - start) * 1e3
    if with_peak:
        found["peak_extra_bytes"] = memory.peak_extra_bytes(call, repeats=1)
    print(json.dumps(found))


def available_bytes() -> int:
    """What the system could give to a process now."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable.")


def run(arguments: list[str]) -> dict[str, Any]:
    """One measurement in a child; what it says, or that it ran out of memory."""
    limit = int(available_bytes() * SHARE)

    def confine() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    child = subprocess.run(
        [sys.executable, __file__, "--child", *arguments],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=confine,
    )
    if child.returncode == 0:
        found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
        return found
    if any(word in child.stderr for word in ("OOM", "bad_alloc", "Resource exhausted", "memory")):
        return {"error": OUT_OF_MEMORY}
    if child.returncode < 0:
        # Not all code looks whether it got the memory that it asked for.
        name = signal.Signals(-child.returncode).name
        return {"error": f"{name} with {limit / 1e9:.0f} GB"}
    raise RuntimeError(child.stderr.strip())


def compare(tokens: int, hidden: int, vocabulary: int, rounds: int) -> Iterator[dict[str, Any]]:
    """A record of each contender, of as many turns as there are rounds."""
    turns: dict[str, list[dict[str, Any]]] = {contender: [] for contender in CONTENDERS}
    for turn in range(rounds):
        for contender, before in turns.items():
            if any("error" in x for x in before):
                continue
            sizes = map(str, (tokens, hidden, vocabulary))
            before.append(run([contender, *sizes, "peak" if turn == 0 else ""]))
    for contender, done in turns.items():
        record = {
            "loss": "linear_sparse_categorical_crossentropy",
            "arguments": "",
            "shape": f"{tokens}x{hidden}x{vocabulary}",
            "dtype": "float32",
            "mode": "forward+gradient",
            "contender": contender,
            "rounds": rounds,
        }
        errors = [x["error"] for x in done if "error" in x]
        if errors:
            yield {**record, "error": errors[0]}
            continue
        yield {
            **record,
            "value": done[0]["value"],
            "ms_median": statistics.median(x["ms"] for x in done),
            "peak_extra_bytes": done[0]["peak_extra_bytes"],
        }


def main(
    output: Annotated[Path, typer.Option(help="Where to write the CSV.")] = Path("linear.csv"),
    tokens: Annotated[list[int] | None, typer.Option(help="Numbers of tokens.")] = None,
    hidden: Annotated[int, typer.Option(help="Width of the hidden states.")] = 512,
    vocabulary: Annotated[int, typer.Option(help="Number of words.")] = 50257,
    rounds: Annotated[int, typer.Option(help="Turns of each contender.")] = 3,
) -> None:
    """Measure the linear cross-entropy against a matrix product and Keras's loss."""
    from fastloss.tools.bench.environment import describe
    from fastloss.tools.bench.record import COLUMNS
    from fastloss.tools.machine import available_cpus

    where = asdict(describe(available_cpus()))
    table = Table("tokens", "contender", "value", "ms", "extra memory, MB")
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*COLUMNS, "value", "error"], lineterminator="\n")
        writer.writeheader()
        for count in track(tokens or TOKENS, description="Measuring"):
            for record in compare(count, hidden, vocabulary, rounds):
                writer.writerow({**where, **record})
                file.flush()
                if "error" in record:
                    table.add_row(str(count), record["contender"], record["error"])
                    continue
                peak = record["peak_extra_bytes"]
                table.add_row(
                    str(count),
                    record["contender"],
                    f"{record['value']:.6f}",
                    f"{record['ms_median']:.0f}",
                    "" if peak is None else f"{peak / 1e6:.0f}",
                )
    console = Console()
    console.print(table)
    console.print(f"Wrote {output}.")


if __name__ == "__main__":
    if "--child" in sys.argv:
        measure(sys.argv[2], *map(int, sys.argv[3:6]), with_peak=sys.argv[6] == "peak")
    else:
        typer.run(main)
