"""The table of what was checked on which card, for the README: `python -m tuning.gpu_check.table docs/gpu`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

NOTHING = "No part of this project has run on a GPU."
_COLUMNS = "| card | date | passed | failed | not run |\n| --- | --- | ---: | --- | --- |"


def table_of(folder: Path) -> str:
    """Return the table as Markdown, a line for each file of results; without any a sentence that says so.

    Args:
        folder: Holds the files that `python -m tuning.gpu_check --json FILE` writes.
    """
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return "\n".join([_COLUMNS, *map(_line, results)]) if results else NOTHING


def _line(result: dict[str, Any]) -> str:
    gpu = result["machine"]["gpus"][0]
    machine = f"{gpu['name']}, driver {gpu.get('NVIDIA driver', '?')}, TensorFlow {result['machine']['tensorflow']}"
    cells = [machine, result["time"], str(result["passed"]), _ids(result, "fail"), _ids(result, "skip")]
    return "| " + " | ".join(cells) + " |"


def _ids(result: dict[str, Any], status: str) -> str:
    return ", ".join(check["id"] for check in result["checks"] if check["status"] == status) or "none"


if __name__ == "__main__":
    print(table_of(Path(sys.argv[1])))
