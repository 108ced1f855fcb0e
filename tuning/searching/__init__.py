"""Layer 3: the work of a search: prepare, run the trials, show the progress, advise."""
