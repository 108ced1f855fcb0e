from pathlib import Path

import pytest

from tuning.run.devices import device_names, share_of_threads, visible_gpus, worker_environment


@pytest.mark.parametrize(
    ("listed", "expected"), [("", ()), ("-1", ()), ("0,2", ("0", "2")), ("GPU-abc, GPU-def", ("GPU-abc", "GPU-def"))]
)
def test_cuda_visible_devices_is_respected(listed: str, expected: tuple[str, ...]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": listed}) == expected


def test_the_driver_s_tool_lists_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert visible_gpus({}) == ("0", "1")


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


def test_cpu_workers_divide_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert [share_of_threads(workers) for workers in (1, 2, 16)] == [8, 4, 1]


def test_a_cpu_worker_has_its_threads_and_no_gpu() -> None:
    environment = worker_environment("cpu:0", 3)
    assert environment.pop("CUDA_VISIBLE_DEVICES") == "-1"
    assert environment == dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "3")
