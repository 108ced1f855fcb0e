"""Every form in which data may be handed over: what becomes of it, in how much memory, and how soon.

    python benchmarks/input_forms.py               # all forms, about a minute
    python benchmarks/input_forms.py dataset       # those that have this in their name

The forms are those of the tests. Each is read, and trained for two epochs in one batch where it is not refused. Memory
is the peak of the process, TensorFlow and all libraries included; seconds are those of reading.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "conformance"), str(ROOT / "tests")]  # the table of forms

import numpy as np
from input_forms import FORMS
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from test_input_forms import losses_of_keras, losses_of_search

from search_spaces.fit_data import read_fit_data
from search_spaces.structure import DataError
from tuning.loops.processor import Cpu

MOST_MIB, MOST_SECONDS = 2048.0, 10.0


def what_becomes_of(form, given, folder):
    """Read a form, train on it, and return that it trains or the line that refuses it, and the seconds of reading."""
    begin = time.perf_counter()
    try:
        data = read_fit_data(**given).checked()
    except DataError as error:
        return str(error), time.perf_counter() - begin
    seconds = time.perf_counter() - begin
    expected = np.array(losses_of_keras(form.build, form.in_keras(form.make(folder))))
    difference = np.max(np.abs(losses_of_search(form.build, data) / expected - 1))
    return f"trains; losses differ from plain Keras by {difference:.0e}", seconds


def measured(name):
    """What becomes of a form, the seconds of reading it, and the most MiB meanwhile."""
    processor = Cpu()
    with tempfile.TemporaryDirectory() as folder:
        processor.reset_peak()
        try:
            given = FORMS[name].make(Path(folder))
        except DataError as error:  # a Stream is refused where it is made
            return str(error), 0.0, processor.peak_bytes() / 2**20
        processor.reset_peak()
        told, seconds = what_becomes_of(FORMS[name], given, Path(folder))
    return told, seconds, processor.peak_bytes() / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", nargs="?", default="", help="only forms with this in their name")
    part = parser.parse_args().part
    logging.disable()  # the notes, which would tear the table
    table, over = Table("form", "MiB", "seconds", "what becomes of it"), []
    for name in track([name for name in FORMS if part in name], description="forms"):
        told, seconds, mib = measured(name)
        table.add_row(name, f"{mib:.0f}", f"{seconds:.1f}", escape(told))
        if mib > MOST_MIB or seconds > MOST_SECONDS:
            over.append(name)
    Console(width=160).print(table)
    if over:
        raise SystemExit(f"More than {MOST_MIB:.0f} MiB or {MOST_SECONDS:.0f} s: {', '.join(over)}")


if __name__ == "__main__":
    main()
