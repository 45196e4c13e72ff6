"""Losses of regions: how well a mask covers what it should."""
