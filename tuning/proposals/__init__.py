"""Layer 2: where to look next, as numbers: a Gaussian process, what a trial costs and what fits."""
