"""The compiled way to make lines: ``lines`` walks the rows, the others write one sort of value each.

Rules:
    1. Import ``lines`` through ``retention.encoding.compiled()`` only: it sets the cache directory first,
       and keeps numba (0.5 s, 150 MiB) out of processes that encode little. ``columns`` may be imported.
    2. Nothing here knows Arrow, datasets or fields; nothing is allocated or decided.
"""
