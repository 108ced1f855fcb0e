"""Layer 1: statistics on plain numbers, which know nothing of figures or TensorFlow."""
