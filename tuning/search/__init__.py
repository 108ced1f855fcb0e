"""Layer 4: one search, from what is asked to the answer."""
