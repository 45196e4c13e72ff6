"""What helps to choose, check, watch and time a loss; nothing outside this package imports it."""
