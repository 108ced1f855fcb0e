from pathlib import Path

import pytest

from tuning.run import executor
from tuning.run.cuda_driver import DriverAnswer, Gpu
from tuning.run.executor import (
    REHEARSAL,
    cards_of,
    device_names,
    gpus_of_this_machine,
    share_of_threads,
    usable_cores,
    worker_environment,
)

A100, T4 = ("NVIDIA A100", 40 * 2**30, "8.0"), ("Tesla T4", 16 * 2**30, "7.5")


def cards(*models: tuple[str, int, str]) -> list[Gpu]:
    return [Gpu(f"GPU-{number}", *model) for number, model in enumerate(models)]


def test_a_driver_out_of_order_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(executor, "ask_driver", lambda: DriverAnswer(problem="it fails with error 803"))
    assert gpus_of_this_machine() == ()
    assert "The CUDA driver cannot be used, it fails with error 803; the CPU trains." in caplog.text


def test_a_sound_driver_is_believed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(executor, "ask_driver", lambda: DriverAnswer(tuple(cards(T4))))
    assert gpus_of_this_machine() == tuple(cards(T4))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ((A100, T4), ("gpu:GPU-0",)),
        ((T4, A100), ("gpu:GPU-1",)),
        ((T4, A100, T4), ("gpu:GPU-0", "gpu:GPU-2")),
    ],
)
def test_unlike_cards_are_not_mixed(
    models: tuple[tuple[str, int, str], ...], expected: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    assert device_names(None, cards(*models)) == expected
    assert "seconds of unlike GPUs cannot be compared" in caplog.text


def test_like_cards_are_all_used_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert device_names(None, cards(T4, T4)) == ("gpu:GPU-0", "gpu:GPU-1")
    assert caplog.text == ""


def test_there_is_one_worker_per_gpu_or_one_on_the_cpu() -> None:
    assert device_names(1, cards(T4, T4)) == ("gpu:GPU-0",)
    assert device_names(None, ()) == ("cpu:0",)
    assert device_names(2, ()) == ("cpu:0", "cpu:1")
    with pytest.raises(ValueError, match="must not exceed the 1 visible GPUs of one model"):
        device_names(2, cards(A100, T4))
    with pytest.raises(ValueError, match="at least 1; got 0"):
        device_names(0, ())


def test_a_training_on_several_cards_has_a_group_of_them(caplog: pytest.LogCaptureFixture) -> None:
    assert device_names(None, cards(T4, T4, T4, T4), 2) == ("gpu:GPU-0,GPU-1", "gpu:GPU-2,GPU-3")
    assert device_names(1, cards(T4, T4, T4, T4), 2) == ("gpu:GPU-0,GPU-1",)
    assert caplog.text == ""
    assert device_names(None, cards(T4, A100, T4, T4), 2) == ("gpu:GPU-0,GPU-2",)
    assert "1 of 3 GPUs stay idle: a training takes 2." in caplog.text
    assert [cards_of(name) for name in ("cpu:0", "gpu:GPU-1", "gpu:GPU-0,GPU-2")] == [1, 1, 2]
    assert worker_environment("gpu:GPU-0,GPU-2", 4)["CUDA_VISIBLE_DEVICES"] == "GPU-0,GPU-2"


def test_more_cards_than_there_are_of_one_model_are_refused() -> None:
    with pytest.raises(ValueError, match="must not exceed the 2 visible GPUs of one model, 2 each; got 2"):
        device_names(2, cards(T4, T4, A100), 2)
    with pytest.raises(ValueError, match="gpus_per_trial must not exceed the 2 visible GPUs of one model; got 3"):
        device_names(None, cards(T4, T4, A100), 3)
    with pytest.raises(ValueError, match=r"one slice of a card \(MIG\); got gpus_per_trial=2"):
        device_names(None, [Gpu(f"MIG-{number}", *A100) for number in range(2)], 2)


def test_the_cpu_stands_in_for_cards_only_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="gpus_per_trial must not exceed the visible GPUs, of which there are none"):
        device_names(None, (), 2)
    monkeypatch.setenv(REHEARSAL, "1")
    assert device_names(None, (), 2) == ("cpu:0,1",)
    assert device_names(2, (), 2) == ("cpu:0,1", "cpu:2,3")


def test_a_gpu_worker_sees_only_its_own_gpu() -> None:
    assert worker_environment("gpu:GPU-abc", 4) == {
        "CUDA_VISIBLE_DEVICES": "GPU-abc",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }


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


def test_cpu_workers_of_as_many_threads_share_what_xla_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    flags = worker_environment("cpu:1", 3, Path("p"))["TF_XLA_FLAGS"]
    assert flags == "--tf_xla_persistent_cache_directory=p/3"  # XLA compiles otherwise for other threads
    assert "TF_XLA_FLAGS" not in worker_environment("gpu:GPU-abc", 3, Path("p"))
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=2")
    assert worker_environment("cpu:1", 3, Path("p"))["TF_XLA_FLAGS"] == f"--tf_xla_auto_jit=2 {flags}"
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=mine")
    assert "TF_XLA_FLAGS" not in worker_environment("cpu:1", 3, Path("p"))
