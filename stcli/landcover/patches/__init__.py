"""Models of patches: small rasters that have one class as a whole."""
