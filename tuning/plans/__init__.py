"""Layer 3: what is tried next. A plan reads the records of a study and names the next trial."""

from __future__ import annotations

SAMPLERS = ("gp", "tpe", "random")
"""Names of what proposes in a Bayesian search; here, because the command line lists them without loading Optuna."""
