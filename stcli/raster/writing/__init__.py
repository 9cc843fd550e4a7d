"""Outputs: what they say of themselves, their parts, and how they appear whole."""
