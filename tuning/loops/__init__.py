"""Layer 1: builds one model, trains it by one of several loops and measures it. TensorFlow lives here."""
