"""Floor 2: the GLocal OBIA-Mamba network, its tokens, training and accuracy."""
