"""Noise in time: series of dates on wavelet cells, their spectrum, whitened and back."""
