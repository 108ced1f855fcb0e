"""Execute the notebooks and store them with their outputs, without anything that belongs to this machine.

    python notebooks/store.py            # all of them
    python notebooks/store.py 01_grid_search.ipynb

needs the extra `test`. Each runs in an empty folder of its own, as it would on a fresh machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
_TIMEOUT_S = 600


def main() -> None:
    """Read the command line and store."""
    for path in [HERE / name for name in sys.argv[1:]] or sorted(HERE.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, Path(folder))
        nbformat.write(tidy(notebook), path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def execute(path: Path, folder: Path) -> Any:
    """The notebook with the outputs of a fresh kernel that runs in a folder and finds this checkout.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    path_of_modules = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    return NotebookClient(notebook, timeout=_TIMEOUT_S, resources=resources, coalesce_streams=True).execute(
        env=os.environ | {"PYTHONPATH": path_of_modules}
    )


def tidy(notebook: Any) -> Any:
    """The same notebook without times, kernel versions, standard error, and a second form of what has HTML.

    A dataclass's plain form is long and names files.
    """
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "text/html" in output.get("data", {}):
                    output.data.pop("text/plain", None)
    return notebook


if __name__ == "__main__":
    main()
