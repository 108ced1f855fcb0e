"""What a worker tells of its device; TensorFlow's GPUs are made up, since a test machine need not have any."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.python.client import device_lib

from tuning.run import facts
from tuning.run.cuda_driver import DriverAnswer, Gpu
from tuning.run.executor import DeviceError, MissingGpuError
from tuning.run.facts import cpu_device, cpu_model, gpu_device, this_process, worker_threads
from tuning.run.memory_limit import MemoryLimit


class Card:
    """A card as TensorFlow shows it, of 7 GB for TensorFlow; records what is configured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, limits: tuple[int, ...] = (7 * 10**9,)) -> None:
        uuids = [f"GPU-{number}" for number in range(1, len(limits) + 1)] or ["GPU-1"]
        self.growth: list[bool] = []
        self.details = {"device_name": "Imaginary A1", "compute_capability": (8, 0)}
        self.limits_in_mib: list[float] = []
        local = [SimpleNamespace(device_type="CPU", memory_limit=256 * 2**20)]
        local += [SimpleNamespace(device_type="GPU", memory_limit=limit) for limit in limits]
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [self] * len(uuids))
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: self.details)
        monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda _, value: self.growth.append(value))
        monkeypatch.setattr(tf.config, "set_logical_device_configuration", self._configure)
        monkeypatch.setattr(device_lib, "list_local_devices", lambda: local)
        seen = DriverAnswer(tuple(Gpu(uuid, "Imaginary A1", 0, "8.0") for uuid in uuids))
        monkeypatch.setattr(facts, "visible_here", lambda: seen)
        monkeypatch.setattr(facts, "driver_version", lambda: "580.1")

    def _configure(self, _: Any, configurations: list[Any]) -> None:
        self.limits_in_mib += [configuration.memory_limit for configuration in configurations]


def test_a_gpu_is_told_with_the_limit_of_tensorflow_s_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)
    told = gpu_device("gpu:1")
    assert (told.name, told.kind, told.is_gpu) == ("gpu:1", "Imaginary A1", True)
    assert told.memory == MemoryLimit(7 * 10**9, "GPU")
    assert (card.growth, card.limits_in_mib) == ([True], [])


def test_the_user_s_limit_is_kept_by_tensorflow_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)
    assert gpu_device("gpu:1", asked_bytes=3 * 2**30).memory == MemoryLimit(3 * 2**30, "--memory-limit")
    assert (card.growth, card.limits_in_mib) == ([], [3 * 2**10])


def test_a_gpu_whose_memory_tensorflow_does_not_tell_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch, limits=())
    with pytest.raises(DeviceError, match="gpu:1 cannot be used: TensorFlow does not tell how much of its memory"):
        gpu_device("gpu:1")


def test_a_gpu_is_told_by_its_own_name_and_with_what_decides_about_results(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch)
    told = gpu_device("gpu:GPU-1")
    facts_told = dict(told.facts)
    assert told.uuid == "GPU-1"
    assert (facts_told["compute capability"], facts_told["NVIDIA driver"]) == ("8.0", "580.1")
    assert facts_told.keys() >= {"CUDA", "cuDNN"}


def test_a_worker_that_sits_on_another_card_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch)
    with pytest.raises(DeviceError, match="gpu:GPU-2 cannot be used: the worker sits on GPU-1 instead"):
        gpu_device("gpu:GPU-2")


def test_several_cards_are_one_device_with_the_memory_of_the_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, limits=(7 * 10**9, 6 * 10**9))
    told = gpu_device("gpu:GPU-1,GPU-2")
    assert (told.cards, told.kind, told.uuid) == (2, "2 x Imaginary A1", "GPU-1,GPU-2")
    assert told.memory == MemoryLimit(6 * 10**9, "GPU")
    assert card.growth == [True, True]
    with pytest.raises(DeviceError, match="gpu:GPU-2,GPU-1 cannot be used: the worker sits on GPU-1, GPU-2 instead"):
        gpu_device("gpu:GPU-2,GPU-1")
    with pytest.raises(DeviceError, match="TensorFlow sees 2 of the 3 GPUs there"):
        gpu_device("gpu:GPU-1,GPU-2,GPU-3")


def test_tensorflow_s_private_list_of_devices_tells_limits() -> None:
    assert [(found.device_type, found.memory_limit > 0) for found in device_lib.list_local_devices()] == [("CPU", True)]


def test_where_tensorflow_sees_no_gpu_there_is_none() -> None:
    with pytest.raises(MissingGpuError, match=r"gpu:0 cannot be used: .* sees no GPU there. .*batch-size-tuner\[gpu\]"):
        gpu_device("gpu:0")
    assert not this_process().is_gpu


def test_tensorflow_that_trains_already_keeps_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch)

    def refuse(*_: Any) -> None:
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    assert this_process() == gpu_device("inline")


def test_a_cpu_is_told_with_its_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "find_memory_limit", lambda asked, sharing: MemoryLimit(1000 // sharing, f"{asked}"))
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    told = cpu_device("cpu:1", asked_bytes=7, sharing=4)
    assert told.memory == MemoryLimit(250, "7")
    assert (told.name, told.is_gpu, told.threads) == ("cpu:1", False, 3)


def test_the_processor_s_model_is_read_where_linux_tells_it(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: EPYC 7B13\n\nmodel name\t: EPYC 7B13\n")
    assert cpu_model(tmp_path) == "EPYC 7B13"


def test_a_processor_without_a_model_has_at_least_an_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert cpu_model(tmp_path) == "aarch64"


@pytest.mark.parametrize(("told", "expected"), [("3", 3), ("", 5), ("0", 5), ("many", 5)])
def test_threads_are_those_of_the_variable_or_one_for_each_core(
    told: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "usable_cores", lambda: 5)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", told)
    assert worker_threads() == expected
