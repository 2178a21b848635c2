"""Traffic made up from nothing: frames, captures and one Thai school day, for demonstrations and tests.

Rules:
    1. Standard library only, so that a demonstration needs nothing that the appliance does not.
    2. Every address and name outside the made-up network is reserved (RFC 5737, 3849, 2606).
    3. The same arguments give the same bytes; nothing reads a clock or the system's randomness.
"""
