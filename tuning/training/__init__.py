"""Layer 1: how one model is trained and measured. TensorFlow lives here."""
