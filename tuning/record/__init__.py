"""Layer 3: writes MLflow, reads it back, and opens its page."""
