"""Layer 3: what fits, how fast, how noisy, before any search."""
