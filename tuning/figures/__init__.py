"""Layer 0: pictures of plain numbers, a module each, for reports, notebooks and files."""
