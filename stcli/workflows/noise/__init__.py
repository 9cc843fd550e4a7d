"""Noise in space and in time: measured, shrunk away, whitened."""
