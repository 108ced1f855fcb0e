"""The CUDA driver is a fake one, compiled here; what it tells is what a box of that kind would tell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tuning.run.cuda_driver import DriverAnswer, Gpu, ask_driver, driver_version

COMPILER = shutil.which("cc") or shutil.which("gcc")
A100, T4 = "NVIDIA A100|40|8|0", "Tesla T4|16|7|5"
SLICE = "NVIDIA A100 MIG 1g.5gb|5|8|0"


def uuid_of(card: int, kind: str = "GPU") -> str:
    byte = f"{0x10 + card:02x}"
    return f"{kind}-{byte * 4}-{byte * 2}-{byte * 2}-{byte * 2}-{byte * 6}"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("needs a C compiler for the fake driver")
    folder = tmp_path_factory.mktemp("cuda")
    source = Path(__file__).with_name("fake_libcuda.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-w", "-o", folder / "libcuda.so.1", source], check=True)
    return folder


def box(library: Path, cards: str, **variables: str) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": str(library), "PATH": "/nonexistent", "FAKE_CUDA": cards, **variables}


@pytest.mark.parametrize(
    ("cards", "variables", "expected"),
    [
        (A100, {}, [0]),
        (f"{A100};{A100}", {}, [0, 1]),
        (f"{A100};{T4}", {"CUDA_VISIBLE_DEVICES": "1"}, [1]),
        (f"{A100};{T4}", {"CUDA_VISIBLE_DEVICES": "1,0"}, [1, 0]),
        (f"{A100};{T4}", {"CUDA_VISIBLE_DEVICES": "0,-1,1"}, [0]),
        (f"{A100};{T4}", {"CUDA_VISIBLE_DEVICES": "7,1"}, []),
        (f"{A100};{T4}", {"CUDA_VISIBLE_DEVICES": "GPU-1111"}, [1]),
        (f"{A100};{T4}", {"CUDA_VISIBLE_DEVICES": uuid_of(0)[:12]}, [0]),
        (f"{A100};{T4}", {"CUDA_VISIBLE_DEVICES": ""}, []),
        (f"{A100};{T4}", {"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ("", {}, []),
    ],
)
def test_the_driver_tells_what_is_visible(
    library: Path, cards: str, variables: dict[str, str], expected: list[int]
) -> None:
    answer = ask_driver(box(library, cards, **variables))
    assert [gpu.uuid for gpu in answer.gpus] == [uuid_of(card) for card in expected]
    assert answer.problem == ""


def test_a_card_is_told_with_its_model_memory_and_capability(library: Path) -> None:
    first, second = ask_driver(box(library, f"{A100};{T4}")).gpus
    assert first == Gpu(uuid_of(0), "NVIDIA A100", 40 * 2**30, "8.0")
    assert second == Gpu(uuid_of(1), "Tesla T4", 16 * 2**30, "7.5")


def test_a_slice_has_the_name_that_cuda_takes(library: Path) -> None:
    assert ask_driver(box(library, SLICE)).gpus[0].uuid == uuid_of(0, "MIG")


def test_a_driver_that_fails_says_so(library: Path) -> None:
    mismatch = ask_driver(box(library, A100, FAKE_CUDA_ERROR="803"))
    assert mismatch == DriverAnswer(problem="it fails with error 803 (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)")
    assert ask_driver(box(library, A100, FAKE_CUDA_ERROR="999")).problem == "it fails with error 999"


def test_a_driver_that_hangs_is_not_waited_for(library: Path) -> None:
    answer = ask_driver(box(library, A100, FAKE_CUDA_ERROR="-1"), timeout_s=0.5)
    assert answer == DriverAnswer(problem="it did not answer within 0.5 s")


def test_a_library_that_is_no_driver_is_a_problem(tmp_path: Path) -> None:
    if COMPILER is None:
        pytest.skip("needs a C compiler for the fake driver")
    (tmp_path / "empty.c").write_text("int nothing;")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", tmp_path / "libcuda.so.1", tmp_path / "empty.c"], check=True)
    assert "exit code" in ask_driver({"LD_LIBRARY_PATH": str(tmp_path)}).problem


def test_without_a_driver_there_is_no_gpu_and_no_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if any(Path("/usr/lib").rglob("libcuda.so.1")):
        pytest.skip("this machine has a CUDA driver")
    assert ask_driver({}) == DriverAnswer()


def test_a_gpu_that_tensorflow_does_not_see_is_told_in_one_line(library: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tuning.cli", "grid", "digits", "--epochs", "1", "--batch-sizes", "32"]
    environment = {**os.environ, **box(library, T4), "PATH": os.environ["PATH"]}
    environment.pop("CUDA_VISIBLE_DEVICES", None)  # the tests hide the GPUs of this machine
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert len(told.stderr.splitlines()) == 1
    assert "sees no GPU there. Install its CUDA libraries (pip install 'batch-size-tuner[gpu]')" in told.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n", "550.54.15"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n", "580.65.06"),
        ("nothing", ""),
    ],
)
def test_the_kernel_tells_the_driver_s_version(tmp_path: Path, text: str, expected: str) -> None:
    version = tmp_path / "proc/driver/nvidia/version"
    version.parent.mkdir(parents=True)
    version.write_text(text)
    assert driver_version(tmp_path) == expected
    assert driver_version(tmp_path / "elsewhere") == ""
