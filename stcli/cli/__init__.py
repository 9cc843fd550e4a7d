"""Floor 4: the face; parse, call one workflow, print."""
