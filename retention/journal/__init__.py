"""Journals: where records are durable, chained and encrypted before they are sealed (FORMAT.md 3)."""

from retention.journal.reader import Frame, JournalReader, Position
from retention.journal.writer import JournalWriter

__all__ = ["Frame", "JournalReader", "JournalWriter", "Position"]
