"""What is wrong with a loss and its data: findings with cause and cure; `fastloss.check`."""

from fastloss.tools.diagnose.batch import Batch
from fastloss.tools.diagnose.checking import check
from fastloss.tools.diagnose.diagnose import diagnose
from fastloss.tools.diagnose.finding import Finding, Report, Severity

__all__ = ["Batch", "Finding", "Report", "Severity", "check", "diagnose"]
