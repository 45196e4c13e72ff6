"""The report on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastloss.tools.doctor.finding import ERROR, NOTE, OK, SEVERITIES, WARNING, Report

_COLOURS = {OK: "green", NOTE: "cyan", WARNING: "yellow", ERROR: "bold red"}


def print_report(console: Console, report: Report) -> None:
    """Prints a table of the findings, then what to do about them, the worst first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("")
    table.add_column("found", overflow="fold")
    for finding in report.findings:
        severity = Text(finding.severity, _COLOURS[finding.severity])
        table.add_row(Text(finding.subject), severity, Text(finding.seen))
    console.print(table, highlight=False)
    cured = [finding for finding in report.findings if finding.cure]
    if cured:
        console.print("\nWhat to do", style="bold")
        for finding in sorted(cured, key=lambda finding: -SEVERITIES.index(finding.severity)):
            mark = Text(f"{finding.subject}: ", _COLOURS[finding.severity])
            console.print(Text("- ").append_text(mark).append(finding.cure), highlight=False)
    console.print()
    console.print(_verdict(report), highlight=False)


def _verdict(report: Report) -> str:
    counts = {
        severity: sum(finding.severity == severity for finding in report.findings)
        for severity in (ERROR, WARNING)
    }
    if not any(counts.values()):
        return "All is well."
    texts = [f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count]
    return f"{' and '.join(texts)}."
