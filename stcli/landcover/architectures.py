"""Names of the kinds of models, as cards bear them; apart, so that asking loads no model."""

from __future__ import annotations

#: The network, of rasters of one date and of stacks of dates.
GLOCAL, GLOCAL_SERIES = "glocal-obia-mamba-1", "glocal-obia-mamba-series-1"
FOREST, SVM, ENSEMBLE = "forest-1", "svm-1", "glocal-obia-mamba-1+forest-1"
SERIES = "series-1"
