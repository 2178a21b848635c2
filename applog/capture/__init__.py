"""From packets to records: files in, flows, names and leases out."""
