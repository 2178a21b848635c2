"""The appliance: capture, attribution, search, evidence and the applog command."""

__version__ = "0.2.0"
