"""The forest and the support vectors, on features of pixels and segments."""
