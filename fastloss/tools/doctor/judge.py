"""From facts to findings: what each fact means, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fastloss.tools.doctor import devices, installation, serving
from fastloss.tools.doctor.finding import Facts, Finding

# In the order in which the findings are to be read.
_CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    installation.python,
    installation.tensorflow,
    installation.keras,
    installation.package,
    serving.library,
    serving.backend,
    serving.threads,
    serving.isa,
    devices.cuda,
    devices.gpu_kernels,
    devices.xla,
    devices.self_test,
    installation.ended,
)


def judge(facts: Facts) -> Iterator[Finding]:
    """Every finding."""
    for check in _CHECKS:
        yield from check(facts)
