"""Layer 2: where to look next, as numbers: a Gaussian process, expected improvement, and what a trial costs."""
