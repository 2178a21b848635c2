"""Bytes, hashes, keys and time. Knows no packet, no user and no HTTP."""
