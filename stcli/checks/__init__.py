"""Floor 2: whether files are what they should be: COG, CF, georeference, seams."""
