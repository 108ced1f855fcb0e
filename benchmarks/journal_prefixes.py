"""Every byte-prefix of three real journals: does the search go on to each planned trial once?

    python benchmarks/journal_prefixes.py

A grid, a Bayesian search with pruning and a staged search are run with made-up trainings. What is left of a journal
that was cut within a record must be mended to the records before it, whichever byte it was cut at; and from every
number of records the same search must go on to the end: each planned trial once, told to Optuna as it ended, with
nothing to do for a third start. A prefix goes on as the records that it is mended to do, so both together speak of
every prefix.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # scripted searches

from journal_replay import badly_mended, faults_of_going_on, line_ends, planned, whole_journal
from scripted_searches import KINDS


def main() -> None:
    """Print the table."""
    table = Table("search", "trials", "records", "bytes", "badly mended", "badly gone on")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as directory:
            table.add_row(kind, *map(str, figures(kind, Path(directory))))
    Console().print(table)


def figures(kind: str, directory: Path) -> tuple[int, int, int, int, int]:
    """Return the trials, records and bytes of a search, and at how many places it was badly mended or gone on."""
    journal = whole_journal(kind, directory)
    whole, ends = planned(kind, directory), line_ends(journal)
    wrong = 0
    for cut in ends:
        faults = faults_of_going_on(kind, journal[:cut], directory / str(cut), whole)
        if faults:
            print(f"{kind}, cut at {cut}: {'; '.join(faults)}")
            wrong += 1
    return len(whole), len(ends) - 1, len(journal), len(list(badly_mended(journal, directory))), wrong


if __name__ == "__main__":
    main()
