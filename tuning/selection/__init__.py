"""Layer 1: pure functions on plain numbers that compare batch sizes and recommend one."""
