"""Losses added up, and the passes over memory that their terms share."""
