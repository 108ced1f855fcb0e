"""The staged search: learning rates at a reference, batch sizes around the forecast, fresh seeds."""
