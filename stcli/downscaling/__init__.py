"""Floor 2: making rasters finer so that they agree with what they came from."""
