"""What is wrong with a loss and its data: findings with cause and cure; `fastloss.check`."""

from fastloss.diagnosis.batch import Batch
from fastloss.diagnosis.checking import check
from fastloss.diagnosis.diagnose import diagnose
from fastloss.diagnosis.finding import Finding, Report, Severity

__all__ = ["Batch", "Finding", "Report", "Severity", "check", "diagnose"]
