"""What is no raster: drawn labels, objects, series, spectra, patches, manifests."""
