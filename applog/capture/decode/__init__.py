"""Decoders: what the first bytes of a conversation say about it.

Rules, the same in every module here:
    1. Pure and total: bytes in, a value out. No input raises; what cannot be read has a stated value
       (``None``, or an empty field), never a guess and never a part of a name.
    2. Work is bounded by the bytes given. Counts, lengths and pointers from the wire are checked first.
    3. Text from the wire passes ``retention.text.wire_text``, so that it is safe to store and to show.
"""
