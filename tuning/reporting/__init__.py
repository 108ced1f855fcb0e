"""Layer 3: the report of a study, a single page."""
