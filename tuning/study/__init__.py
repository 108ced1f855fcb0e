"""Layer 3: what is tried next, and the durable record of what was."""
