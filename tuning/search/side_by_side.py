"""How many trials may run beside one another on one CPU, with a thread each, and having them do so."""

from __future__ import annotations

from tuning.machine.machine import Machine
from tuning.machine.memory import could_run_out
from tuning.run.asking import first_device
from tuning.run.executor import Divisible, Executor
from tuning.search.options import SearchOptions
from tuning.search.preparation import Setup
from tuning.stats.rules import ENERGY

_OTHER_SIZES = 4  # times as large as by default a model may become by its own hyperparameters


def places_for(setup: Setup, options: SearchOptions, executor: Executor, n_trials: int) -> int:
    """Return how many trials could run beside one another; 1 where they should not.

    There is at most a place for each core and each trial, and so many that no batch size could run out of the memory of
    its place: of a quarter of it where the model's own hyperparameters vary, since its size is known at their defaults
    alone. Whoever says how many workers or threads there are is taken at his word, and energy is told of one training
    alone.

    Args:
        setup: What is known before the first trial.
        options: How the search runs.
        executor: Where the trials run.
        n_trials: The trials of the search.
    """
    asked = options.workers is not None or options.threads is not None or options.cost == ENERGY
    if asked or not isinstance(executor, Divisible) or setup.model.has_own_loop:
        return 1
    device = first_device(executor)
    if device.is_gpu or device.cards > 1 or len(executor.devices()) > 1:
        return 1
    largest = setup.space.batch_size.values()[-1]
    usable = device.memory.bytes // (_OTHER_SIZES if setup.space.entries else 1)
    places = min(device.cores, device.threads, n_trials)
    while places > 1 and could_run_out(largest, setup.arguments.data, setup.model, usable // places):
        places -= 1
    return max(1, places)


def divide(executor: Executor, machine: Machine) -> None:
    """Share the CPU out, where the machine is known to do more so; also by a search that goes on.

    An executor that has several devices, perhaps because it was divided before, is left as it is.
    """
    if machine.workers > 1 and isinstance(executor, Divisible):
        parts = min(machine.workers, first_device(executor).cores)
        if len(executor.devices()) == 1 and parts > 1:
            executor.divide(parts)
