"""Trainings of land-cover models, their maps, and what is said of a map."""
