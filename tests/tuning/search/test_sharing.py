"""What several cards that share each training ask of a search."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import ScriptedExecutor, description, device
from scripted_searches import arguments, curve, probes, tuner

from search_spaces import BatchSize, LearningRate
from search_spaces.space import SearchSpace
from tuning.machine.memory import probe_memory
from tuning.machine.threads import could_pay
from tuning.machine.throughput import sizes_to_time
from tuning.messages import MemoryProbe, MemoryProbeRequest, ThroughputRequest
from tuning.run.cuda_driver import Gpu
from tuning.run.memory_limit import MemoryLimit
from tuning.search import workers
from tuning.search.options import SearchOptions, read_options
from tuning.search.preparation import resolve_space
from tuning.search.sharing import notes_on_cards
from tuning.study.storage import StudyError


def sizes_of(asked: BatchSize | None, cards: int, default: BatchSize | None = None) -> tuple[int, ...]:
    space = resolve_space(
        description(),
        (),
        batch_size=asked,
        default_batch_size=default,
        learning_rate=None,
        n_train=1000,
        cards=cards,
    )
    return space.batch_size.values()


def test_sizes_that_the_cards_cannot_share_are_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    assert sizes_of(BatchSize.of(8, 9, 15, "full"), 1) == (8, 9, 15, 1000)
    assert caplog.text == ""
    assert sizes_of(BatchSize.of(8, 9, 15, "full"), 2) == (8, 1000)
    assert "Left out: batch size 9, 15, which 2 cards cannot share equally." in caplog.text
    with pytest.raises(
        ValueError, match=r"must be a multiple of the 4 cards that share it; got \(9, 15\). .* 16,32,64"
    ):
        sizes_of(BatchSize.of(9, 15), 4)


def test_sizes_that_nobody_has_asked_for_begin_where_the_cards_can_share_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert sizes_of(None, 4) == (8, 16, 32, 64)
    assert sizes_of(None, 3) == (9, 18, 36, 72)
    assert sizes_of(None, 2, BatchSize(1, 16)) == (2, 4, 8, 16)
    assert caplog.text == ""


def test_the_answer_tells_what_is_otherwise_on_several_cards() -> None:
    space = SearchSpace(BatchSize.of(16, 32, 64), LearningRate(), model_rate=0.1)
    wild = description(has_batch_normalization=True, normalizes_by_card=True, clips_gradients=True)
    assert notes_on_cards(1, wild, space) == []
    (shares, normalizes, clips) = notes_on_cards(4, wild, space)
    assert shares.startswith("4 cards share each training")
    assert "fewer than 16 at batch size 16, 32; with synchronized=True" in normalizes
    assert "clips the part of each card" in clips
    assert len(notes_on_cards(1 + 1, description(has_batch_normalization=True), space)) == 1
    large = SearchSpace(BatchSize.of(64), LearningRate(), model_rate=0.1)
    assert "BatchNormalization" not in " ".join(notes_on_cards(4, wild, large))


def test_only_sizes_that_the_cards_share_are_probed_and_timed() -> None:
    asked = []

    def answer(request: MemoryProbeRequest) -> MemoryProbe:
        asked.append(request.batch_size)
        return MemoryProbe(request.trial_id, request.batch_size, 2**30 + 2**20 * request.batch_size, 0)

    executor = ScriptedExecutor(devices=[device("gpu:1,2,3", cards=3)], probes=answer)
    found = probe_memory(executor, MemoryLimit(8 * 2**30, "GPU"), n_train=100, margin=0.1)
    assert (found.largest_batch_size, found.limited_by) == (99, "data")
    assert all(size % 3 == 0 for size in asked)
    assert len(set(asked)) == len(asked)
    assert sizes_to_time(1437, 3) == (6, 15, 63, 255, 1023)
    assert sizes_to_time(2, 2) == (2,)


def test_cards_are_not_shared_out_to_threads() -> None:
    assert could_pay((device(threads=2),), {8: 1e9})
    assert not could_pay((device("cpu:0,1", threads=2, cards=2),), {8: 1e9})


class MirroredStrategy:
    """One of TensorFlow's, as far as a tuner looks at it."""

    num_replicas_in_sync = 2


def test_a_strategy_as_keras_tuner_takes_it_stands_for_its_cards() -> None:
    assert read_options({"distribution_strategy": MirroredStrategy()}).gpus_per_trial == 2
    assert read_options({"distribution_strategy": None}).gpus_per_trial is None
    with pytest.raises(ValueError, match="gpus_per_trial must be what distribution_strategy has, 2; got 4"):
        read_options({"distribution_strategy": MirroredStrategy(), "gpus_per_trial": 4})


@pytest.mark.parametrize("kind", ["grid", "tune"])
def test_a_search_tries_only_what_its_cards_share_and_says_so(kind: str, tmp_path: Path) -> None:
    many = device("gpu:" + ",".join(map(str, range(32))), cards=32, kind="32 x Imaginary 9000")
    executor, found = ScriptedExecutor(curve, devices=[many], probes=probes), tuner(kind, tmp_path)
    found.run(arguments(), executor)
    assert {request.batch_size for request in executor.requests} <= {32, 64, 256}
    timed = {request.batch_size for request in executor.probed if isinstance(request, ThroughputRequest)}
    assert timed
    assert all(size % 32 == 0 for size in timed)
    caveats = found.answer.recommendation.caveats
    assert any(caveat.startswith("32 cards share each training") for caveat in caveats)
    with pytest.raises(StudyError, match="cards_per_training was 32, now None"):
        tuner(kind, tmp_path).run(arguments(), ScriptedExecutor(curve, probes=probes))


@pytest.mark.parametrize(
    ("asked", "names"),
    [(None, ("gpu:A", "gpu:B", "gpu:C")), (1, ("gpu:A", "gpu:B", "gpu:C")), (2, ("gpu:A,B",)), (0, ("cpu:0",))],
)
def test_local_workers_are_started_on_groups_of_cards(
    asked: int | None, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, ...]] = []

    class Recorded:
        def __init__(self, devices: tuple[str, ...], **_: object) -> None:
            started.append(devices)

        def close(self) -> None:
            """Nothing was started."""

    monkeypatch.setattr(workers, "Starter", Recorded)
    monkeypatch.setattr(workers, "gpus_of_this_machine", lambda: [Gpu(name, "L4", 2**34, "8.9") for name in "ABC"])
    with workers.starting_workers(SearchOptions(gpus_per_trial=asked)):
        assert started == [names]
