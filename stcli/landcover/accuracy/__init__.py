"""How right a map is and how sure: counts, estimates, calibration, where to look next."""
