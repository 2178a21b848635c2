"""Columns become canonical lines."""

from retention.encoding.arrow import ENCODER, encode, format_address, format_mac

__all__ = ["ENCODER", "encode", "format_address", "format_mac"]
