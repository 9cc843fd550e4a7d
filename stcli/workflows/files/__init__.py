"""Rasters as files: told of, laid together, drawn, checked."""
