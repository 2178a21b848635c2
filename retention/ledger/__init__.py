"""The ledger: one append-only log of everything that was sealed, signed and expired (FORMAT.md 8)."""
