"""stcli: rasters larger than memory into maps, from a shell."""

__version__ = "0.1.0"
