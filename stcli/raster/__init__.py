"""Floor 1: files. Rasters and vectors in, georeferenced rasters out."""
