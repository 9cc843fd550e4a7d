"""Superpixels, nested objects and tables of them; how good they are."""
