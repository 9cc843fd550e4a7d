"""Superpixels that tile: rounds over packed cells, and connected segments of them."""
