"""People, devices, sessions and the gate. Knows no packet capture."""
