from pathlib import Path

import pytest

from tuning.run import executor
from tuning.run.executor import device_names, share_of_threads, usable_cores, visible_gpus, worker_environment


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("", ()),
        ("-1", ()),
        ("0,2", ("0", "2")),
        ("0,-1,1", ("0",)),
        ("1,,2", ("1",)),
        ("GPU-abc, GPU-def", ("GPU-abc", "GPU-def")),
    ],
)
def test_cuda_visible_devices_is_respected(listed: str, expected: tuple[str, ...]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": listed}) == expected


def put_nvidia_smi(script: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = directory / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


def test_the_driver_s_tool_lists_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_nvidia_smi("printf '0\\n1\\n'", tmp_path, monkeypatch)
    assert visible_gpus({}) == ("0", "1")


@pytest.mark.parametrize(
    "script", ["echo 'NVIDIA-SMI has failed'", "echo 0; exit 9", "echo '[N/A]'", "printf '\\377\\n'", "exec sleep 60"]
)
def test_a_tool_that_answers_nonsense_or_hangs_lists_no_gpu(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "_NVIDIA_SMI_TIMEOUT_S", 0.5)
    put_nvidia_smi(script, tmp_path, monkeypatch)
    assert visible_gpus({}) == ()


def test_without_the_driver_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus({}) == ()


def test_there_is_one_worker_per_gpu_or_one_on_the_cpu() -> None:
    assert device_names(None, ("0", "1")) == ("gpu:0", "gpu:1")
    assert device_names(1, ("0", "1")) == ("gpu:0",)
    assert device_names(None, ()) == ("cpu:0",)
    assert device_names(2, ()) == ("cpu:0", "cpu:1")
    with pytest.raises(ValueError, match="must not exceed the 1 visible GPUs"):
        device_names(2, ("0",))
    with pytest.raises(ValueError, match="at least 1; got 0"):
        device_names(0, ())


def test_a_gpu_worker_sees_only_its_own_gpu() -> None:
    assert worker_environment("gpu:2", 4)["CUDA_VISIBLE_DEVICES"] == "2"
    assert worker_environment("gpu:GPU-abc", 4)["CUDA_VISIBLE_DEVICES"] == "GPU-abc"


def test_a_gpu_is_numbered_as_nvidia_smi_does_unless_the_user_numbered_it() -> None:
    assert worker_environment("gpu:1", 4, {})["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "CUDA_DEVICE_ORDER" not in worker_environment("gpu:1", 4, {"CUDA_VISIBLE_DEVICES": "1,0"})


def test_the_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5, 7})
    assert usable_cores() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert usable_cores() == 1


def test_cpu_workers_divide_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert [share_of_threads(workers) for workers in (1, 2, 16)] == [8, 4, 1]


def test_a_cpu_worker_has_its_threads_and_no_gpu() -> None:
    environment = worker_environment("cpu:0", 3)
    assert environment.pop("CUDA_VISIBLE_DEVICES") == "-1"
    assert environment == dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "3")
