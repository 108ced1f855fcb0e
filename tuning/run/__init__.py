"""Layer 2: where a trial runs."""
