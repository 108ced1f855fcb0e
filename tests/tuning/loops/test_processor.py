"""What the CPU tells of its memory and threads; the GPU's half asks TensorFlow, whose answers are made up."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

from tuning.loops import processor as module
from tuning.loops.processor import Cpu, Gpu, this_processor


def test_free_memory_is_the_least_that_any_limit_leaves(monkeypatch):
    for name in ("_cgroup_free", "_address_space_free"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda: 7)
            assert Cpu().free_bytes() == 7


def test_the_limit_of_a_cgroup_counts_what_is_used(monkeypatch, tmp_path):
    for name, number in (("_CGROUP_LIMIT", 100), ("_CGROUP_USED", 30)):
        path = tmp_path / name
        path.write_text(f"{number}\n")
        monkeypatch.setattr(module, name, path)
    assert module._cgroup_free() == 70
    (tmp_path / "_CGROUP_LIMIT").write_text("max\n")
    assert module._cgroup_free() == module._total()


def test_the_threads_are_what_the_environment_says_or_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert Cpu().threads == 3
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    assert Cpu().threads == os.cpu_count()


def test_the_peak_of_the_cpu_is_watched_anew_after_a_reset() -> None:
    cpu = Cpu()
    large = np.ones(2**26)  # 512 MiB
    cpu.peak_bytes()
    before = cpu.peak_bytes()
    assert before > large.nbytes
    del large
    cpu.reset_peak()
    assert cpu.peak_bytes() < before - 2**28


def test_without_a_gpu_the_cpu_trains() -> None:
    assert not this_processor().is_gpu


def test_a_gpu_is_asked_through_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    memory = tf.config.experimental
    monkeypatch.setattr(memory, "get_memory_info", lambda name: {"current": 3, "peak": 5} if name == "GPU:0" else {})
    monkeypatch.setattr(memory, "reset_memory_stats", calls.append)
    monkeypatch.setattr(tf.test.experimental, "sync_devices", lambda: calls.append("wait"))
    monkeypatch.setattr(module, "gpu_memory_limit", lambda: 10)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: ["a card"])
    gpu = Gpu()
    gpu.reset_peak()
    gpu.wait()
    assert (gpu.free_bytes(), gpu.peak_bytes(), gpu.threads, calls) == (7, 5, None, ["GPU:0", "wait"])


def test_the_memory_of_several_cards_is_the_fullest_one_s(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, calls = tf.config.experimental, list[str]()
    counts = {
        "GPU:0": {"current": 3, "peak": 5},
        "GPU:1": {"current": 4, "peak": 9},
        "GPU:2": {"current": 0, "peak": 8},
    }
    monkeypatch.setattr(memory, "get_memory_info", counts.__getitem__)
    monkeypatch.setattr(memory, "reset_memory_stats", calls.append)
    monkeypatch.setattr(module, "gpu_memory_limit", lambda: 10)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: list(counts))
    gpu = Gpu()
    gpu.reset_peak()
    assert (gpu.free_bytes(), gpu.peak_bytes(), calls) == (6, 9, ["GPU:0", "GPU:1", "GPU:2"])


def test_a_gpu_whose_allocator_counts_nothing_tells_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ValueError(f"Allocator stats not available for device {name}")

    monkeypatch.setattr(tf.config.experimental, "get_memory_info", refuse)
    monkeypatch.setattr(tf.config.experimental, "reset_memory_stats", refuse)
    monkeypatch.setattr(module, "gpu_memory_limit", lambda: 10)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: ["a card"])
    gpu = Gpu()
    gpu.reset_peak()
    assert (gpu.peak_bytes(), gpu.free_bytes()) == (None, 10)
