"""Floor 1: tiles, memory and running; knows no algorithm."""
