"""The callback that watches the loss of a model while it trains."""

from __future__ import annotations

import os
import time
import warnings
from typing import Any

import keras

from fastloss.ops.context import has_gpu
from fastloss.terms.arguments import integer
from fastloss.tools.diagnose import Batch, Report
from fastloss.tools.monitor.cost import Cost
from fastloss.tools.monitor.hooks import Hooks
from fastloss.tools.monitor.numbers import Numbers, numbers_of
from fastloss.tools.monitor.report import batch_of, report
from fastloss.tools.monitor.writers import Csv, Lines, TensorBoard, Writer

_MODES = ("stop", "skip", "report")
_LOOK_ON_GPU = 32  # calls of the training function between two looks, each of which waits for it


class LossMonitor(keras.callbacks.Callback):
    """Watches the loss, its terms and its gradient, and explains the first NaN or infinity.

        monitor = fl.callbacks.LossMonitor()
        model.fit(x, y, callbacks=[monitor])
        monitor.report                          # None, or why training has stopped

    It adds to the logs of each epoch, and so to Keras's progress bar and to `History`:

    - `grad_norm`: mean over the steps of the norm of the loss's gradient by y_pred, or by the
      logits behind it where the loss goes back to these; a LossScaleOptimizer's factor taken out.
    - `not_finite`: share of the entries of y_pred and that gradient that are NaN or infinite.
    - `counted`: share of the labels that count, where weights, a mask or an ignored class leave
      some out.
    - the terms of a loss that is a sum, by their names, means over the samples.
    - `loss_ms`: milliseconds that the loss takes forward and backward, alone: measured once an
      epoch on its first batch, outside of the step, compiled as the step is; and `loss_share`, that
      time as a share of the epoch's mean step, waiting for data included.
    - `skipped`: how many batches of the training were skipped, with `on_nonfinite="skip"`.

    With several outputs a name begins with that of the output, as Keras's metrics do. What the logs
    hold already under a name stays.

    The step writes these numbers into variables and costs a pass over the gradient by y_pred more.
    Nothing waits for it, but for a look whether it was finite: after each step on a CPU or under
    XLA, else after 32, while the model stands still. It works in graphs, with `jit_compile`,
    `run_eagerly`, `steps_per_execution` and mixed precision, on one device. The training function
    is traced anew for the monitor, and the model is as before when training ends.

    A step is not finite if the loss of an output, its gradient by y_pred or, unless in "report", a
    gradient of the weights is not. Gradients that a LossScaleOptimizer overflows by its own scale
    are its business. An op that fails, as of class numbers out of range on a CPU, raises its own
    error, which names row and label; `fastloss.check` explains it.

    Args:
        every: Look after so many steps too: lines, CSV, TensorBoard and progress bar then show the
            latest step. None (the default) is after each epoch only.
        on_nonfinite: What to do at the first step that is not finite. "stop" (the default): print
            why, and stop after it; neither this step nor another changes weights, optimizer or
            moving averages. "skip": print why, and go on as if this batch and others like it had
            not been; neither do they count in the metrics. "report": print why, and go on.
        print_lines: Whether to print a line for each epoch, and after `every` steps.
        csv: Path of a CSV file, written anew, with a row for each line.
        tensorboard: Folder of TensorBoard events: `loss_monitor/...` for each epoch and
            `loss_monitor_steps/...`, against the steps of the training.
        loss_time: Whether to measure `loss_ms` and `loss_share`.

    Attributes:
        report: Why the first step that was not finite was so, a `Report` with facts and findings;
            None if there was none.
        batches: What the loss of each output was called with in that step, to look at. Empty with
            both `jit_compile` and `steps_per_execution`, where XLA cannot keep it.

    Raises:
        ValueError: If an argument is none of the above; at the start of a training: if the model
            has no compiled loss, its `train_step` does not use it, or it runs on several replicas.
    """

    def __init__(
        self,
        every: int | None = None,
        on_nonfinite: str = "stop",
        print_lines: bool = False,
        csv: str | os.PathLike[str] | None = None,
        tensorboard: str | os.PathLike[str] | None = None,
        loss_time: bool = True,
    ) -> None:
        super().__init__()
        if on_nonfinite not in _MODES:
            raise ValueError(
                f"on_nonfinite is {on_nonfinite!r}; expected one of {', '.join(map(repr, _MODES))}"
            )
        if every is not None and integer("every", every) < 1:
            raise ValueError(f"every is {every}; expected a positive number of steps, or None")
        self.every = every
        self.on_nonfinite = on_nonfinite
        self.print_lines = print_lines
        self.csv = csv
        self.tensorboard = tensorboard
        self.loss_time = loss_time
        self.report: Report | None = None
        self.batches: dict[str, Batch] = {}
        self._hooks: Hooks | None = None
        self._writers: list[Writer] = []
        self._latest: Numbers = {}
        if every is not None:
            # A method of the class would make Keras wait for every step's metrics.
            self.on_train_batch_end = self._show_latest

    def on_train_begin(self, logs: Any = None) -> None:
        """Take part in the training step."""
        if self._hooks is not None:
            self._hooks.remove()
        self.report, self.batches, self._latest = None, {}, {}
        self._hooks = Hooks(self.model, self.on_nonfinite, self._after_call)
        self._cost: Cost | None = None
        self._measures = self.loss_time
        self._total = 0
        self._calls = 0
        # What XLA returns of a step is gone with the next one.
        may_lag = has_gpu() and not self.model.jit_compile
        self._look = _LOOK_ON_GPU if may_lag else 1
        self._writers = [Lines()] if self.print_lines else []
        if self.csv is not None:
            self._writers.append(Csv(self.csv))
        if self.tensorboard is not None:
            self._writers.append(TensorBoard(self.tensorboard))

    def on_train_end(self, logs: Any = None) -> None:
        """Leave the model as it was."""
        for writer in self._writers:
            writer.close()
        self._writers = []
        if self._hooks is not None:
            self._hooks.remove()
            self._hooks = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin the sums of an epoch."""
        self._epoch = epoch
        self._epoch_start = self._total
        self._seconds: float | None = None
        self._clock: float | None = None
        self._hooked.records_next.assign(self._measures)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add the epoch's numbers to the logs, and write them."""
        logs = {} if logs is None else logs
        self._look_for_bad()
        hooks = self._hooked
        numbers = numbers_of(hooks.losses, [loss.take() for loss in hooks.losses])
        if "loss" in logs:
            numbers["loss"] = logs["loss"]
        if self.on_nonfinite == "skip":
            numbers["skipped"] = float(hooks.skipped.numpy())
        numbers.update(self._times())
        for name, x in numbers.items():
            if x is not None:
                logs.setdefault(name, x)
        self._write(None, numbers)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Let the training function know that this training is watched."""
        if self._hooked.is_removed:
            raise ValueError("two LossMonitors watch one training; expected one")
        self._hooked.is_armed = True

    def on_test_begin(self, logs: Any = None) -> None:
        """Look away while the model is validated."""
        if self._hooks is not None:
            self._hooks.is_watching = False

    def on_test_end(self, logs: Any = None) -> None:
        """Look again."""
        if self._hooks is not None:
            self._hooks.is_watching = True

    @property
    def _hooked(self) -> Hooks:
        assert self._hooks is not None
        return self._hooks

    def _after_call(self) -> None:
        """After each call of the training function: one step, or `steps_per_execution`."""
        hooks = self._hooked
        if not any(loss.was_called for loss in hooks.losses):
            hooks.remove()
            raise ValueError(
                f"the train_step of {self.model.name} does not call the compiled loss; expected it "
                "to use self.compute_loss(...), which the monitor watches"
            )
        now = time.perf_counter()
        before = self._total
        self._total = self._steps_so_far(before)
        self._calls += 1
        is_first = before == self._epoch_start
        if is_first:
            self._measure()
        if is_first or self._calls % self._look == 0:
            self._look_for_bad()
        if self.every is not None and self._total // self.every > before // self.every:
            self._latest = numbers_of(hooks.losses, [loss.step() for loss in hooks.losses])
            self._write(self._total - self._epoch_start, self._latest | self._no_times())
        hooks.snapshot.forget_returned()
        if is_first:
            hooks.snapshot.forget()
            self._clock, self._first = time.perf_counter(), self._total
        else:
            self._last = now

    def _steps_so_far(self, before: int) -> int:
        # The last call of an epoch may have run fewer steps, which only the variable knows.
        per_call = self.model.steps_per_execution
        return before + 1 if per_call == 1 else int(self._hooked.steps.numpy())

    def _look_for_bad(self) -> None:
        hooks = self._hooked
        if self.report is not None or hooks.first_bad.numpy() < 0:
            return
        batch = int(hooks.first_bad.numpy()) - self._epoch_start
        bad = [loss.first_bad.numpy() != 0 for loss in hooks.losses]
        arrays = hooks.snapshot.inputs(len(hooks.losses)) if any(bad) else None
        if arrays is not None:
            named = zip(hooks.losses, arrays, bad, strict=True)
            self.batches = {loss.name: batch_of(one) for loss, one, is_bad in named if is_bad}
        self.report = report(hooks, self.batches, f"epoch {self._epoch + 1}, batch {batch}")
        hooks.snapshot.forget()
        print(f"\n{self.report}\n")
        if self.on_nonfinite == "stop":
            self.model.stop_training = True

    def _measure(self) -> None:
        if not self._measures:
            return
        hooks = self._hooked
        hooks.records_next.assign(False)
        inputs = hooks.snapshot.inputs(len(hooks.losses))
        if inputs is None:
            return
        if self._cost is None:
            losses = [loss.loss for loss in hooks.losses]
            model = self.model
            self._cost = Cost(losses, bool(model.run_eagerly), bool(model.jit_compile))
        try:
            self._seconds = self._cost.seconds(inputs)
        except ValueError as error:
            # A loss may read what a layer of the model has left on y_pred.
            warnings.warn(
                f"LossMonitor leaves out loss_ms, as the loss fails outside of the step: {error}",
                stacklevel=2,
            )
            self._measures = False

    def _times(self) -> Numbers:
        times = self._no_times()
        if self._seconds is None:
            return times
        times["loss_ms"] = 1e3 * self._seconds
        steps = self._total - self._first if self._clock is not None else 0
        if self._clock is not None and steps:
            times["loss_share"] = self._seconds * steps / (self._last - self._clock)
        return times

    def _no_times(self) -> Numbers:
        return {"loss_ms": None, "loss_share": None} if self.loss_time else {}

    def _write(self, step: int | None, numbers: Numbers) -> None:
        for writer in self._writers:
            writer.write(self._epoch, step, self._total, numbers)

    def _show_latest(self, batch: int, logs: Any = None) -> None:
        if logs is not None:
            for name, x in self._latest.items():
                if x is not None:
                    logs.setdefault(name, x)
