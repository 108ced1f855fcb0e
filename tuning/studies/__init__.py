"""Layer 2: what a study has tried and what it tries next, on an Optuna storage."""
