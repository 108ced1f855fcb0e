"""The version of what `--json` prints."""

from __future__ import annotations

SCHEMA_VERSION = 1
"""It rises when a field is taken away or comes to mean something else; fields may be added without that."""
