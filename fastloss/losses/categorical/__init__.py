"""Losses of one class out of many."""
