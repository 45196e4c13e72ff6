"""`fastloss.plot`: pictures of trainings and losses."""
