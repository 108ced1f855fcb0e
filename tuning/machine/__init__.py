"""Layer 3: what a device can do: what fits, how fast updates are, how noisy the gradient is."""
