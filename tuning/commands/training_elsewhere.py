"""A final training on a Ray cluster: what a node does for it, and what its driver does."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.stream import Stream
from tuning.run.executor import THREAD_VARIABLES, DeviceError, WorkerSetup
from tuning.run.ray_actor import versions
from tuning.run.wire import HasParts, pickle_setup, read_data, write_data
from tuning.trial import Trial

if TYPE_CHECKING:
    from tuning.loops.final_fit import Fitted
    from tuning.run.ray_cluster import Cluster, Demand


@dataclass(frozen=True)
class FinalJob:
    """A final training as it travels.

    Args:
        payload: What `pickle_setup` returns.
        trial: The setting, the seed and the epochs.
        cpus: The CPUs that Ray counts for it, which are its threads.
        gpus: The GPUs that share it, which Ray has chosen; 0 for the CPU.
    """

    payload: bytes
    trial: Trial
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Trained:
    """A model that has been trained elsewhere.

    Args:
        fitted: How that went.
        content: Of its `.keras` file.
    """

    fitted: Fitted
    content: bytes


@dataclass(frozen=True)
class FailedTraining:
    """Why there is no model, in one line."""

    reason: str


def train_elsewhere(
    setup: WorkerSetup, trial: Trial, cluster: Cluster, demand: Demand, tell: Callable[[str], None]
) -> Trained:
    """Train one model on a node of a cluster, which is left afterwards, and return it.

    Args:
        setup: The model, its data and callbacks.
        trial: The setting, the seed and the epochs.
        cluster: Connected.
        demand: What the training takes of a node; it is waited for.
        tell: Told what Keras prints there, a line at a time.

    Raises:
        DeviceError: If the node has other versions, or has gone.
        ValueError: If the model cannot be trained.
    """
    from tuning.run.ray_cluster import ActorEndedError, differing_versions
    from tuning.run.ray_node import Parts

    with closing(cluster):
        job = FinalJob(pickle_setup(setup, with_neighbours=True), trial, demand.cpus, demand.gpus)
        data = [cluster.put(Parts(dict(setup.data.parts())))]
        if cluster.places(demand) == 0:
            tell(f"No node of the Ray cluster has {demand}; the training waits for one.")
        actor, stream = cluster.start_work(demand, pickle.dumps((train, job)), data)
        try:
            if told := differing_versions(versions(), cluster.next_of(stream)):
                raise DeviceError(told)
            while isinstance(item := cluster.next_of(stream), str):
                tell(item)
        except ActorEndedError as error:
            raise DeviceError(f"The training was lost with its node or process: {error}. Train again.") from None
        finally:
            cluster.kill(actor)
    if isinstance(item, FailedTraining):
        raise ValueError(f"The model must be trainable; on its node it ended so: {item.reason}")
    assert isinstance(item, Trained)
    return item


def train(job: FinalJob, parts: HasParts) -> Iterator[str | Trained | FailedTraining]:
    """Yield the lines that Keras prints while a model trains, and at last the model, or why there is none.

    This runs on the node, before TensorFlow is imported there.

    Args:
        job: What to train.
        parts: The data's arrays.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(job.cpus)))
    if not job.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    told: queue.SimpleQueue[str | Trained | FailedTraining] = queue.SimpleQueue()
    threading.Thread(target=_train, args=(job, parts, told), daemon=True).start()
    while isinstance(item := told.get(), str):
        yield item
    yield item


def _train(job: FinalJob, parts: HasParts, told: queue.SimpleQueue[str | Trained | FailedTraining]) -> None:
    found: Trained | FailedTraining
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(_Lines(told)):
            found = _trained(job, parts, Path(folder))
    except Exception as error:  # whatever the user's model raises is told where he sits
        found = FailedTraining(" ".join(f"{type(error).__name__}: {error}".split()))
    told.put(found)


def _trained(job: FinalJob, parts: HasParts, folder: Path) -> Trained:
    from tuning.built import ScaledHyperModel
    from tuning.loops.final_fit import FinalFit
    from tuning.loops.replicas import Replicas
    from tuning.run.facts import rehearse

    cards = job.gpus or 1
    rehearse(cards)
    replicas = Replicas(cards)
    replicas.check(job.trial.batch_size)
    hypermodel, callbacks, fit_options, source, _ = pickle.loads(job.payload)
    if isinstance(source, Stream):
        data: Any = source
    else:
        write_data(parts, folder / "data")
        data = read_data(folder / "data", source)
    with replicas.scope():
        model = ScaledHyperModel(hypermodel, lambda: job.trial.instructions).build_for(job.trial)
    path = folder / "model.keras"
    options = {"callbacks": callbacks, "class_weight": fit_options.get("class_weight")}
    fitted = FinalFit(job.trial, path).run(model, data, **options, verbose=2)
    return Trained(fitted, path.read_bytes())


class _Lines(io.TextIOBase):
    """A stream whose lines go to a queue."""

    def __init__(self, told: queue.SimpleQueue[Any]) -> None:
        self._told, self._begun = told, ""

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            self._told.put(line)
        return len(text)
