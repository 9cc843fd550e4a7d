"""The GLocal OBIA-Mamba network: its tokens, its branches, its training; with torch and without."""
