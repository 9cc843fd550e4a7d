"""Floor 3: one verb a file, by subject; named datasets in, named datasets out.

What verbs of several subjects share stands beside these folders, and imports none of them.
"""
