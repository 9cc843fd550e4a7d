"""Floor 1: superpixels; knows no file and no tile."""
