"""Segments: a day's rows of a dataset, sealed (FORMAT.md 7)."""
