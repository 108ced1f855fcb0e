"""A training set larger than memory: what the driver holds, how soon the first update comes, and whether it is copied.

    python benchmarks/big_data.py                  # 20 GiB, a sparse file that takes no room on the disk
    python benchmarks/big_data.py --gib 100

A grid of one batch size searches on rows of bytes that lie in a `.npy` file. The driver is killed once its first trial
trains; another one goes on, and stops every training after 20 updates. Reading a hole in a file costs what reading from
memory costs, so that a disk's own time is not in these numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import psutil

from search_spaces import BatchSize, Data
from tuning import GridSearch

ROW_BYTES, N_VAL, BATCH_SIZE, UPDATES = 16384, 1000, 256, 20
MOST_DRIVER_BYTES, MOST_SECONDS, MIB = 2**30, 20.0, 2**20
UPDATE = "first-update.json"


class StopSoon(keras.callbacks.Callback):
    """Writes down when the first update was done and what lies in the temporary folder, and stops."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            process = psutil.Process()
            copied = sum(path.stat().st_size for path in Path(tempfile.gettempdir()).rglob("*.npy"))
            told = {"at": time.time(), "started": process.create_time(), "copied": copied}
            told |= {"worker": process.memory_info().rss, "driver": peak_bytes(process.ppid())}
            (self.folder / "part").write_text(json.dumps(told))
            (self.folder / "part").rename(self.folder / UPDATE)
        if batch == UPDATES - 1:
            self.model.stop_training = True


def peak_bytes(process_id):
    """The most memory that a process has held."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process_id}/status").read_text())
    return int(found[1]) * 1024


def build_model():
    rows = keras.Input((ROW_BYTES,), dtype="uint8")
    values = keras.layers.Rescaling(1 / 255)(keras.layers.Reshape((ROW_BYTES, 1))(rows))
    means = keras.layers.Flatten()(keras.layers.AveragePooling1D(256)(values))
    model = keras.Model(rows, keras.layers.Dense(2, activation="softmax")(means))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def drive(folder):
    """Search, as the driver."""
    x = np.load(folder / "x.npy", mmap_mode="r")
    y = np.load(folder / "y.npy")
    data = Data(x[N_VAL:], y[N_VAL:], x[:N_VAL], y[:N_VAL])
    uri = f"sqlite:///{folder}/mlflow.db"
    sizes = BatchSize.of(BATCH_SIZE)
    tuner = GridSearch(build_model, batch_size=sizes, seeds=1, directory=folder, tracking_uri=uri, quiet=True)
    tuner.search(data, epochs=1, callbacks=[StopSoon(folder)])
    print(tuner.recommend().trials["completed"], "trial completed")


def make(folder, gib):
    """Write a sparse file of rows, and their labels."""
    count = gib * 2**30 // ROW_BYTES
    np.lib.format.open_memmap(folder / "x.npy", "w+", "uint8", (count, ROW_BYTES)).flush()
    np.save(folder / "y.npy", np.random.default_rng(0).integers(0, 2, count))
    return count


def report(folder, name, *, kill):
    """Run a driver and print what it took; return whether that is within what is promised."""
    temporary = folder / f"tmp-{name}"
    temporary.mkdir()
    begin = time.time()
    environment = {**os.environ, "TMPDIR": str(temporary), "TF_CPP_MIN_LOG_LEVEL": "3"}
    driver = subprocess.Popen([sys.executable, __file__, "--drive", str(folder)], env=environment)
    while driver.poll() is None and not (folder / UPDATE).exists():
        time.sleep(0.05)
    if kill:
        driver.kill()
    if driver.wait() and not kill:
        raise SystemExit("The search must end; its driver has failed.")
    told = json.loads((folder / UPDATE).read_text())
    (folder / UPDATE).unlink()
    seconds = told["at"] - told["started"]
    print(
        f"{name}: first update {seconds:.1f} s after its worker's start, {told['at'] - begin:.1f} s after the driver's"
    )
    print(f"  driver {told['driver'] / MIB:.0f} MiB at most, worker {told['worker'] / MIB:.0f} MiB", end="")
    print(f", copied to the temporary folder {told['copied'] / MIB:.1f} MiB")
    return told["driver"] < MOST_DRIVER_BYTES and seconds < MOST_SECONDS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--gib", type=int, default=20)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.drive:
        return drive(asked.drive)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{make(folder, asked.gib)} rows of {ROW_BYTES} bytes, {asked.gib} GiB")
        good = [report(folder, "search", kill=True), report(folder, "resume", kill=False)]
    raise SystemExit(0 if all(good) else "That is more than 1 GiB of memory, or 20 seconds to the first update.")


if __name__ == "__main__":
    main()
