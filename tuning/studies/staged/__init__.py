"""Layer 2: the staged search, from what a machine can do to batch sizes confirmed on fresh seeds."""
