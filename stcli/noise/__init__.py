"""Noise, measured and whitened: in time by wavelets, in space by a local map."""
