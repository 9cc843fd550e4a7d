"""Floor 1: the selective scan, the Mamba block, weights."""
