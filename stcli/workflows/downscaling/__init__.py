"""Finer rasters that agree with their coarse ones, and the models that make them."""
