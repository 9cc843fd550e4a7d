"""Floor 3: one verb a file; named datasets in, named datasets out."""
