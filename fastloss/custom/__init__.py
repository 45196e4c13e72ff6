"""Losses of a user's own functions, compiled by XLA."""
