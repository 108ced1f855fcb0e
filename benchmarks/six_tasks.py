"""What `batch-size tune` recommends on six real tasks, against brute force with more seeds of every batch size.

    python benchmarks/six_tasks.py --minutes 8 [--tasks digits,tabular] [--mnist mnist.npz]   # again, until it has all

For each task a study is made, then every batch size that it confirmed is trained to the study's target at the rate that
the study gave it, on eight fresh seeds; plain Keras's seconds per update are timed again in three rounds, the batch
sizes taking turns. A size's true time to the target is the geometric mean of its updates times the least of its
seconds, since what else runs on the machine can only slow it down. A size that misses the target on a seed is left out.

What has been trained and timed is kept in a file (`--cache`), so that the work can be done in pieces; a run ends after
its minutes. Printed is, of each task that is complete, how much longer the recommended size takes than the best one,
and the seconds that its fresh seeds took as a share of three seeds for every size: ended at the target, and trained for
their whole budget.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from search_spaces import Setting
from search_spaces.workload import Workload, load_workload
from tuning.instructions import Budget, Goal, Instructions
from tuning.messages import Throughput, ThroughputRequest
from tuning.objective import Objective
from tuning.record.tracker import NullTracker
from tuning.run.asking import ask, first_device
from tuning.run.executor import Executor
from tuning.search.methods import tune_method
from tuning.search.options import SearchArguments, SearchOptions
from tuning.search.search import Search
from tuning.search.wishes import Wishes
from tuning.search.workers import running_executor
from tuning.stats.target import crossing
from tuning.study.study import Study
from tuning.trial import CONFIRM, EpochReport, Status, Trial, TrialOutcome

TASKS = ("digits", "digits-cnn", "tabular", "series", "text", "mnist")
SEEDS, FIXED, ROUNDS, FRESH = 8, 3, 3, 500_000
LONGEST = 3
"""A training of brute force may take so many times the epochs of its confirmation."""


class OutOfTimeError(Exception):
    """The minutes are over; what is known has been kept."""


class Cache:
    """What is known, in a file that is written after each piece of work.

    Args:
        path: The file; it need not exist.
        minutes: After which no further piece is begun.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self._path, self._end = path, time.monotonic() + 60 * minutes
        self.known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    @property
    def seconds_left(self) -> float:
        return self._end - time.monotonic()

    def keep(self, name: str, value: Any) -> None:
        self.known[name] = value
        self._path.write_text(json.dumps(self.known))

    def begin(self) -> None:
        """Raise OutOfTimeError where the minutes are over."""
        if self.seconds_left <= 0:
            raise OutOfTimeError


def main() -> None:
    """Do what is missing, then print what is complete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("six_tasks.json"))
    parser.add_argument("--mnist", help="MNIST as .npz; else Keras downloads it")
    asked = parser.parse_args()
    cache = Cache(asked.cache, asked.minutes)
    tasks = asked.tasks.split(",")
    try:
        for task in tasks:
            workload = load_workload(task)
            if task == "mnist" and asked.mnist:
                workload = workload.with_data_file(asked.mnist)
            work(cache, workload, asked.first_seed)
    except OutOfTimeError:
        print("out of time; run it again for the rest")
    report(cache, tasks, asked.first_seed)


def work(cache: Cache, workload: Workload, first_seed: int) -> None:
    """Make a task's study, then train and time what it should have found."""
    arguments = SearchArguments(workload.load_data(), workload.epochs, verbose=False)
    name = f"{workload.name}-{first_seed}"
    if name not in cache.known:
        cache.begin()
        if (found := tune(cache, workload, arguments, first_seed)) is None:
            raise OutOfTimeError
        cache.keep(name, found)
    answer = cache.known[name]
    missing = list(trainings(cache, workload.name, answer))
    untimed = [f"{name}-seconds-{i}" for i in range(ROUNDS) if f"{name}-seconds-{i}" not in cache.known]
    if not missing and not untimed:
        return
    with running_executor(workload.build, arguments, SearchOptions(workers=1)) as executor:
        for each in untimed:
            cache.begin()
            cache.keep(each, seconds_per_update(executor, answer))
        for key, size, rate, seed in missing:
            cache.begin()
            cache.keep(key, train(executor, Setting(size, rate), FRESH + seed, answer))


def tune(cache: Cache, workload: Workload, arguments: SearchArguments, first_seed: int) -> dict[str, Any] | None:
    """The answer, and what its fresh seeds took; None where the time was up before the study was complete."""
    directory = Path(f"{cache._path.with_suffix('')}-studies", f"{workload.name}-{first_seed}")
    limit = max(1.0, cache.seconds_left)
    options = SearchOptions(timeout_s=limit, keep_models=0, quiet=True)
    wishes = Wishes.read(workload.objective, None, workload.learning_rate, FIXED)
    begin, study = time.monotonic(), Study(directory.name)
    method = tune_method(wishes, options, first_seed=first_seed)
    search = Search(study, method, wishes, options=options, directory=directory, tracker=NullTracker())
    with running_executor(workload.build, arguments, options) as executor:
        answer = search.run(arguments, executor)
    if time.monotonic() - begin > limit:
        return None
    found = answer.recommendation
    confirmed = [trial for trial in study.records if trial.stage == CONFIRM and trial.scored]
    rates = {trial.batch_size: trial.learning_rate for trial in confirmed}
    return {
        "pick": found.batch_size,
        "target": found.target,
        "objective": [study.objective.name, study.objective.direction],
        "epochs": max(trial.budget.epochs for trial in confirmed),
        "rates": rates,
        "confirmation": confirmation(confirmed, arguments.data.epoch_length),
        "trainings": len(study.records),
    }


def confirmation(confirmed: list[Trial], n_train: int) -> dict[str, float]:
    """Seconds of the fresh seeds; of three for every size that end at the target, and that train their whole budget."""
    by_size: dict[int, list[Trial]] = defaultdict(list)
    for trial in confirmed:
        by_size[trial.batch_size].append(trial)
    spent = sum(trial.seconds or 0.0 for trial in confirmed)
    ended = sum(FIXED * statistics.fmean(t.seconds or 0.0 for t in trials) for trials in by_size.values())
    whole = 0.0
    for trials in by_size.values():
        per_example = statistics.fmean((t.seconds or 0.0) / t.examples_seen for t in trials)
        whole += FIXED * per_example * trials[0].budget.epochs * n_train
    return {"spent": spent, "ended": ended, "whole": whole}


def trainings(cache: Cache, task: str, answer: dict[str, Any]) -> Iterator[tuple[str, int, float | None, int]]:
    """What brute force lacks: the name in the cache, size, rate and seed; each seed at all sizes before the next."""
    for seed in range(SEEDS):
        for size, rate in answer["rates"].items():
            key = key_of(task, int(size), rate, seed, answer["target"])
            if key not in cache.known:
                yield key, int(size), rate, seed


def key_of(task: str, size: int, rate: float | None, seed: int, target: float) -> str:
    return f"{task} {size} at {rate} to {target}, seed {seed}"


def seconds_per_update(executor: Executor, answer: dict[str, Any]) -> dict[str, float]:
    """Of plain Keras, by batch size."""
    found = {}
    for size in answer["rates"]:
        timed = ask(executor, ThroughputRequest(f"t{size}", int(size), loop="keras"))
        assert isinstance(timed, Throughput)
        found[size] = timed.seconds_per_update
    return found


def train(executor: Executor, setting: Setting, seed: int, answer: dict[str, Any]) -> float | None:
    """Examples to the target; None if it was not reached."""
    objective = Objective(*answer["objective"])
    trial = Trial(
        setting,
        seed,
        budget=Budget(LONGEST * answer["epochs"], Goal(objective, answer["target"])),
        trial_id=f"{setting.batch_size}-{seed}",
        instructions=Instructions(loop="device"),
    )
    executor.submit(trial, first_device(executor).name)
    epochs: list[EpochReport] = []
    while True:
        for event in executor.events(1.0):
            if isinstance(event, EpochReport):
                epochs.append(event)
            elif isinstance(event, TrialOutcome):
                if event.status is not Status.COMPLETED:
                    return None
                curve = [epoch.metrics[objective.name] for epoch in epochs]
                found = crossing(
                    [epoch.examples_seen for epoch in epochs], curve, answer["target"], objective=objective
                )
                return found.examples if found and found.reached else None


def report(cache: Cache, tasks: list[str], first_seed: int) -> None:
    """Print a line for each task whose brute force is complete, and the means."""
    print("task         pick  best   excess  trainings  confirm seconds of 3 ended at the target, of 3 whole")
    excesses, shares = [], []
    for task in tasks:
        answer = cache.known.get(f"{task}-{first_seed}")
        rounds = [cache.known.get(f"{task}-{first_seed}-seconds-{i}") for i in range(ROUNDS)]
        if answer is None or None in rounds or list(trainings(cache, task, answer)):
            print(f"{task:12s} is not complete")
            continue
        times = true_times(cache, task, answer, rounds)
        best, pick = min(times, key=lambda size: times[size]), answer["pick"]
        excess = times[pick] / times[best] - 1 if pick in times else math.inf
        took = answer["confirmation"]
        share, whole = took["spent"] / took["ended"], took["spent"] / took["whole"]
        excesses.append(excess)
        shares.append(whole)
        numbers = f"{pick:5d} {best:5d} {excess:8.1%} {answer['trainings']:10d}"
        print(f"{task:12s} {numbers}  {share:8.0%} {whole:8.0%}", flush=True)
        print("             " + ", ".join(f"{size}: {seconds:.3g} s" for size, seconds in sorted(times.items())))
    if excesses:
        mean, worst = statistics.fmean(excesses), max(excesses)
        print(
            f"mean excess {mean:.1%} (goal 5 %), worst {worst:.1%} (15 %), share {statistics.fmean(shares):.0%} (60 %)"
        )


def true_times(cache: Cache, task: str, answer: dict[str, Any], rounds: list[Any]) -> dict[int, float]:
    """Seconds to the target by batch size, of those that reached it on every seed."""
    found = {}
    for text, rate in answer["rates"].items():
        size = int(text)
        seen = [cache.known[key_of(task, size, rate, seed, answer["target"])] for seed in range(SEEDS)]
        if None not in seen:
            updates = math.exp(statistics.fmean(math.log(examples / size) for examples in seen))
            found[size] = updates * min(each[text] for each in rounds)
    return found


if __name__ == "__main__":
    main()
