"""Noise in space: a local map of it, denoising, components, stripes."""
