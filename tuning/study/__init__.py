"""Layer 3: what was tried: the durable record of trials and measurements, on an Optuna storage."""
