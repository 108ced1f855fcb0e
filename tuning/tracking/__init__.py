"""Layer 2: what MLflow holds, written and read back."""
