"""`batch-size tune digits` against the truth: twice with other seeds, then every batch size on ten more seeds.

For each study, every batch size that it confirmed is trained to the study's target at the learning rate that the study
gave it, on ten fresh seeds; plain Keras's seconds per update are timed again in three rounds, the batch sizes taking
turns. A size's true time to the target is the geometric mean of its updates times the least of its seconds, since what
else runs on the machine can only slow it down. Printed is how much longer the recommended size takes than the best one;
15 % is the most that it should be.

    python benchmarks/tune_digits.py [--first-seeds 0,1000] [--seeds 10] [--no-prune]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from search_spaces import Setting
from search_spaces.workload import load_workload
from tuning.messages import Throughput, ThroughputRequest
from tuning.objective import Objective
from tuning.run.asking import ask
from tuning.run.executor import Executor
from tuning.search.options import SearchArguments, SearchOptions
from tuning.search.preparation import running_executor
from tuning.stats.target import crossing
from tuning.trial import Budget, EpochReport, Goal, Instructions, Status, Trial, TrialOutcome

ROUNDS, EPOCHS, FRESH = 3, 60, 500_000


def main() -> None:
    """Run the studies, then measure what they should have found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first-seeds", default="0,1000")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--no-prune", action="store_true")
    asked = parser.parse_args()
    workload = load_workload("digits")
    arguments = SearchArguments(workload.load_data(), workload.epochs)
    for first_seed in map(int, asked.first_seeds.split(",")):
        answer, seconds = tune(first_seed, ["--no-prune"] if asked.no_prune else [])
        with running_executor(workload.build, arguments, SearchOptions(workers=1)) as executor:
            report(answer, seconds, first_seed, truth(executor, answer, asked.seeds))


def tune(first_seed: int, options: list[str]) -> tuple[dict[str, Any], float]:
    """The answer of the command in an empty directory, and its wall time."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "tuning.cli", "tune", "digits", "--json", "--first-seed", str(first_seed)]
        done = subprocess.run([*command, *options], cwd=directory, capture_output=True, text=True, check=True)
        pick = subprocess.run(
            [sys.executable, "-m", "tuning.cli", "pick", "--json"], cwd=directory, capture_output=True, check=True
        )
        assert json.loads(pick.stdout)["recommended_batch_size"] == json.loads(done.stdout)["recommended_batch_size"]
    return json.loads(done.stdout), time.monotonic() - begin


def truth(executor: Executor, answer: dict[str, Any], seeds: int) -> dict[int, tuple[float, float, int]]:
    """By batch size: updates to the target, seconds per update of plain Keras, and how many seeds missed it."""
    rows = [row for row in answer["table"] if row["learning_rate"] is not None]
    seconds: dict[int, list[float]] = {row["batch_size"]: [] for row in rows}
    for number in range(ROUNDS):
        for size, found in seconds.items():
            timed = ask(executor, ThroughputRequest(f"t{number}-{size}", size, loop="keras"))
            assert isinstance(timed, Throughput)
            found.append(timed.seconds_per_update)
    found = {}
    for row in rows:
        size = row["batch_size"]
        examples = [train(executor, row, answer["target"], FRESH + seed) for seed in range(seeds)]
        reached = [value for value in examples if value is not None]
        updates = math.exp(statistics.fmean(math.log(value) for value in reached)) / size if reached else math.inf
        found[size] = (updates, min(seconds[size]), len(examples) - len(reached))
    return found


def train(executor: Executor, row: dict[str, Any], target: float, seed: int) -> float | None:
    """Examples to the target; None if it was not reached."""
    trial_id = f"{row['batch_size']}-{seed}"
    objective = Objective("val_accuracy", "max")
    trial = Trial(
        Setting(row["batch_size"], row["learning_rate"]),
        seed,
        budget=Budget(EPOCHS, Goal(objective, target)),
        trial_id=trial_id,
        instructions=Instructions(loop="device"),
    )
    executor.submit(trial, executor.devices()[0].name)
    epochs: list[EpochReport] = []
    while True:
        for event in executor.events(1.0):
            if isinstance(event, EpochReport):
                epochs.append(event)
            elif isinstance(event, TrialOutcome):
                if event.status is not Status.COMPLETED:
                    return None
                curve = [epoch.metrics["val_accuracy"] for epoch in epochs]
                found = crossing([epoch.examples_seen for epoch in epochs], curve, target, objective=objective)
                return found.examples if found and found.reached else None


def report(answer: dict[str, Any], seconds: float, first_seed: int, found: dict[int, tuple[float, float, int]]) -> None:
    """Print one study beside the truth."""
    times = {size: updates * each for size, (updates, each, missed) in found.items() if not missed}
    best = min(times, key=lambda size: times[size])
    picked = answer["recommended_batch_size"]
    print(f"\nfirst seed {first_seed}: {seconds:.0f} s, {sum(answer['trials'].values())} trials {answer['trials']}")
    print(f"target val_accuracy {answer['target']}")
    print(" batch   rate     updates  ms/update  seconds  missed  verdict")
    verdicts = {row["batch_size"]: (row["learning_rate"], row["verdict"]) for row in answer["table"]}
    for size, (updates, each, missed) in sorted(found.items()):
        rate, verdict = verdicts[size]
        print(f"{size:6d}  {rate:<8.3g}{updates:8.1f}{1000 * each:11.3f}{updates * each:9.3f}{missed:8d}  {verdict}")
    excess = times[picked] / times[best] - 1 if picked in times else math.inf
    print(f"recommended {picked}, truly best {best}: {100 * excess:.1f} % longer", flush=True)


if __name__ == "__main__":
    main()
