"""What may be tried: pure declarations. Nothing here imports `tuning`."""
