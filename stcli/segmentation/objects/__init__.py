"""Objects merged of segments, and all that is measured of objects."""
