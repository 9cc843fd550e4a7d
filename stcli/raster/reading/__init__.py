"""Rasters opened, one or several as one, and read window by window."""
