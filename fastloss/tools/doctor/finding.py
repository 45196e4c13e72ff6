"""What the doctor says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

Facts: TypeAlias = dict[str, Any]
"""What was found out, by the stage that did; as JSON can hold it."""

OK, NOTE, WARNING, ERROR = SEVERITIES = ("ok", "note", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What it is, a word or two.
        severity: "ok"; "note", worth knowing; "warning", slower or riskier than it could be; or
            "error", something does not work or gives wrong numbers.
        seen: What was found.
        cure: What to do about it; empty where there is nothing to do.
    """

    subject: str
    severity: str
    seen: str
    cure: str = ""


@dataclass(frozen=True)
class Report:
    """All that was found.

    Attributes:
        findings: In the order of their subjects.
        facts: What they were judged by, as JSON can hold it.
    """

    findings: tuple[Finding, ...]
    facts: Facts

    @property
    def exit_code(self) -> int:
        """1 if there is an error, else 0; warnings and notes leave it 0."""
        return int(any(finding.severity == ERROR for finding in self.findings))

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return {
            "healthy": self.exit_code == 0,
            "findings": [asdict(finding) for finding in self.findings],
            "facts": self.facts,
        }
