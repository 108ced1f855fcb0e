"""Files that no search can use, made in a directory: data, archives, workloads, and what only looks like a file."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

N = 16
X, Y = np.linspace(0, 1, 2 * N, dtype="float32").reshape(N, 2), np.linspace(0, 1, N, dtype="float32")
CLASSES = np.arange(N) % 3
GIB = 2**30

WORKLOADS = """
import sys
import keras
from search_spaces import BatchSize, Workload

def model(units=1, inputs=2, **compiled):
    made = keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(units)])
    if compiled:
        made.compile(**compiled)
    return made

class Own(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1

class Broken:
    def __init__(self):
        raise OSError("no weights today")

def build(hp): return model(optimizer="sgd", loss="mse")
def raises(hp): raise RuntimeError("no\\nmodel today")
def leaves(hp): sys.exit(3)
def nothing(hp): return 3
def three(a, b, c): return model(optimizer="sgd", loss="mse")
def uncompiled(hp): return model()
def lossless(hp): return model(optimizer="sgd")
def wide(hp): return model(inputs=5, optimizer="sgd", loss="mse")
def scheduled(hp): return model(optimizer=keras.optimizers.SGD(Own()), loss="mse")
def classes(hp): return model(units=3, optimizer="sgd", loss="sparse_categorical_crossentropy")
def classes_object(hp): return model(units=3, optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy())
def binary(hp): return model(optimizer="sgd", loss="binary_crossentropy")

def raising(): raise KeyError("nix")
def leaving(): sys.exit("no data today")
no_data = Workload("no_data", build, raising)
left_data = Workload("left_data", build, leaving)
number = Workload("number", build, lambda: 5)
four = Workload("four", build, lambda: (1, 2, 3, 4))
unsplit = Workload("unsplit", build, lambda: ([1.0], [1.0]))
slashed = Workload("a/b", build, lambda: None)
bad_callbacks = Workload("bad_callbacks", build, callbacks=lambda: 5)
raising_callbacks = Workload("raising_callbacks", build, callbacks=raising)
word_callbacks = Workload("word_callbacks", build, callbacks=["stop"])
class_callbacks = Workload("class_callbacks", build, callbacks=[keras.callbacks.EarlyStopping])
bad_weights = Workload("bad_weights", build, class_weight={0: -1.0})
five = 5
"""


def make_all(directory: Path) -> None:
    """Write every file, by names that the tables use."""
    _write_arrays(directory)
    _write_workloads(directory)
    _write_archives(directory)
    _write_tables(directory)
    (directory / "folder").mkdir()
    (directory / "folder.py").mkdir()
    os.symlink("loop.npz", directory / "loop.npz")
    os.symlink("nowhere", directory / "dangling.npz")
    os.symlink("nowhere.py", directory / "dangling.py")
    os.mkfifo(directory / "pipe.npz")
    (directory / "garbled.db").write_bytes(np.random.default_rng(0).bytes(5000))


def save(path: Path, **changes: Any) -> None:
    """Write an archive that is good but for the changes; None leaves an array out."""
    arrays = {"x_train": X, "y_train": Y, "x_val": X, "y_val": Y, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def _write_arrays(directory: Path) -> None:
    labels = {"y_train": CLASSES, "y_val": CLASSES}
    images = {"x_train": np.zeros((N, 8, 8), "uint8"), "x_val": np.zeros((N, 8, 8), "uint8")}
    for name, changes in {
        "good": {},
        "classes": labels,
        "x_only": {"y_train": None},
        "no_validation": {"x_val": None, "y_val": None},
        "half_validation": {"y_val": None},
        "uneven": {"y_train": Y[:3]},
        "uneven_weights": {"sample_weight_train": Y[:3]},
        "no_examples": {"x_train": X[:0], "y_train": Y[:0]},
        "no_validation_examples": {"x_val": X[:0], "y_val": Y[:0]},
        "scalar": {"x_train": np.float32(1)},
        "nan": {"x_train": np.where(X > 0.9, np.nan, X)},
        "nan_labels": {"y_val": Y * np.nan},
        "nan_weights": {"sample_weight_train": Y * np.nan},
        "objects": {"x_train": np.array([{}] * N, dtype=object)},
        "object_words": {"y_train": np.array(["a", 1] * (N // 2), dtype=object)},
        "dates": {"x_train": X.astype("datetime64[s]")},
        "durations": {"y_train": Y.astype("timedelta64[s]")},
        "named": {"x_train": np.zeros(N, dtype=[("a", "f4"), ("b", "f4")])},
        "void": {"x_train": X.view("V4")},
        "complex": {"x_train": X * 1j, "x_val": X * 1j},
        "words": {"x_train": X.astype(str), "x_val": X.astype(str)},
        "bytes": {"x_train": X.astype("S4"), "x_val": X.astype("S4")},
        "word_labels": {name: each.astype(str) for name, each in labels.items()},
        "far_label": {**labels, "y_train": np.where(np.arange(N) == N - 1, 7, CLASSES)},
        "far_validation_label": {**labels, "y_val": np.where(np.arange(N) == N - 1, 9, CLASSES)},
        "late_negative_label": {**labels, "y_train": np.where(np.arange(N) == N - 1, -2, CLASSES)},
        "half_labels": {name: each + 0.5 for name, each in labels.items()},
        "one_class": {**labels, "y_train": CLASSES * 0 + 1},
        "one_hot": {name: np.eye(3)[each] for name, each in labels.items()},
        "other_width": {"x_val": X[:, :1]},
        "flat_images": {name: each[:N] for name, each in labels.items()},
        "float_classes": {**images, "y_train": CLASSES / 1},
        "one_hot_images": {**images, "y_train": np.eye(3)[CLASSES]},
    }.items():
        save(directory / f"{name}.npz", **changes)
    np.save(directory / "array.npy", X)


def _write_workloads(directory: Path) -> None:
    for name, text in {
        "here": WORKLOADS,
        "leaves": "import sys\nsys.exit(5)\n",
        "syntax": "def (:\n",
        "empty": "",
        "imports": "import nothing_of_this_name\n",
        "raises": "raise ValueError('two\\nlines')\n",
        "deep": "def again(): again()\nagain()\n",
        "epochs": "from search_spaces import Workload\nw = Workload('w', print, epochs='5')\n",
        "sizes": "from search_spaces import Workload\nw = Workload('w', print, batch_size=32)\n",
        "rates": "from search_spaces import Workload\nw = Workload('w', print, learning_rate=0.1)\n",
        "share": "from search_spaces import Workload\nw = Workload('w', print, validation_split=20)\n",
        "built": "from search_spaces import Workload\nw = Workload('w', 5)\n",
    }.items():
        (directory / f"{name}.py").write_text(text)
    (directory / "binary.py").write_bytes(b"\x00\xff\x01")


def _write_archives(directory: Path) -> None:
    good = (directory / "good.npz").read_bytes()
    (directory / "short.npz").write_bytes(good[:300])
    (directory / "bent.npz").write_bytes(good[:200] + bytes(60) + good[260:])
    (directory / "none.npz").write_bytes(b"")
    (directory / "text.npz").write_text("x_train, y_train\n")
    write_bomb(directory / "bomb.npz", 8 * GIB)
    write_member(directory / "promise.npz", header_of(f"({2**40},)") + bytes(64))
    write_member(directory / "negative.npz", header_of("(-4,)") + bytes(64))
    write_member(directory / "long_header.npz", header_of("(4,)", padding=10**6) + bytes(16))
    write_member(directory / "code_header.npz", header_of("(__import__('os').getpid(),)") + bytes(16))
    write_member(directory / "columns.npz", header_of("(4,)", dtype="[('д', '<f4')]", version=3) + bytes(16))
    write_member(directory / "no_magic.npz", bytes(64))
    write_member(directory / "pickle.npz", header_of("(1,)", dtype="'|O'") + b"cos\ngetpid\n(tR.")
    with zipfile.ZipFile(directory / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")


def _write_tables(directory: Path) -> None:
    for name, content in {
        "short.txt": b"short",
        "latin.txt": b"\xff\xfe" * 900,
        "two.csv": b"v\n1\n2\n",
        "constant.csv": b"v\n" + b"3\n" * 400,
        "letters.csv": b"v\n" + b"x\n" * 400,
        "gaps.csv": b"v,w\n" + b"1,2\n" * 9 + b"1,\n" * 400,
        "none.csv": b"",
        "names.csv": b"v\n",
        "latin.csv": b"v\n\xff\n",
        "column.csv": b"v\n1\n2\n",
        "many_classes.csv": b"u,v\n" + b"".join(b"1,%d\n" % i for i in range(9)),
        "one_class.csv": b"u,v\n1,a\n1,a\n2,a\n",
        "missing.csv": b"u,v\n1,a\n,a\n2,b\n3,b\n",
        "no_class.csv": b"u,v\n1,a\n1,a\n2,b\n3,\n",
        "infinite.csv": b"u,v\n1,a\n1,a\ninf,b\n3,b\n",
    }.items():
        (directory / name).write_bytes(content)


def header_of(shape: str, *, dtype: str = "'<f4'", padding: int = 0, version: int = 2) -> bytes:
    """The beginning of an `.npy` file, with whatever shape it promises."""
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}{' ' * padding}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<I", len(text)) + text


def write_member(path: Path, content: bytes, name: str = "x_train.npy") -> None:
    """Write an archive with one member."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)


def write_bomb(path: Path, size: int) -> None:
    """Write an archive of about a thousandth of `size`, whose one member unpacks to an array of that many zeros.

    Every mebibyte of zeros is compressed alike, so that its bytes are repeated; the checksum alone is left out.
    """
    block, header = bytes(2**20), header_of(f"({size},)", dtype="'|u1'")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(header) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = first + zeros * (size // len(block)) + packer.flush(zlib.Z_FINISH)
    name, unpacked = b"x_train.npy", size + len(header)
    # Sizes beyond four bytes stand in the extra field of ZIP64.
    extra = struct.pack("<HHQQ", 1, 16, unpacked, len(packed))
    common = struct.pack("<HHHHHIIIHH", 45, 0, 8, 0, 33, 0, 2**32 - 1, 2**32 - 1, len(name), len(extra))
    local = b"PK\x03\x04" + common + name + extra + packed
    central = b"PK\x01\x02" + struct.pack("<H", 45) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name + extra
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)
