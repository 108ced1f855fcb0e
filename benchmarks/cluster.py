"""A search on a Ray cluster: equal to one on this machine? does it survive its faults? what does it cost?

    python benchmarks/cluster.py [--only equality faults overhead] [--rounds 10] [--postgres URL] [--restart COMMAND]

A cluster of a head without CPUs and two nodes of one CPU runs in this machine (`ray.cluster_utils.Cluster`), with an
MLflow server on 127.0.0.1; nothing here crosses a network, and no node has a GPU.

equality   `grid digits` of 3 seeds on both engines, one thread each: every score and epoch loss must be the same bits.
faults     searches of trials of about 2 s in which something dies; every planned trial must complete exactly once. The
           search must go on within 10 s, on a node that was added within 20 s, and leave nothing 10 s after its end.
           PostgreSQL is restarted by a command, such as "pg_ctl restart -D DATA -m fast", where one is given.
overhead   8 trials of 5 s or more on two devices of either engine, the median of three runs. Needs an idle machine.

The extras `ray` and `postgres` are needed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import uuid
from pathlib import Path

import optuna
from rich.console import Console

from tuning import load_study
from tuning.trial import Trial

sys.path.insert(0, str(Path(__file__).parent))

from cluster_faults import faults
from cluster_laboratory import Driver, Laboratory, laboratory


def equality(lab: Laboratory, console: Console) -> bool:
    """Compare a search on the cluster with the same one on this machine."""
    options = ["--seeds", "3", "--loop", "device"]
    name = uuid.uuid4().hex[:8]
    local = lab.start(f"local-{name}", *options, "--threads", "1", "--workers", "1")
    local.wait()
    ray = lab.start(f"ray-{name}", *options, *lab.on_ray())
    ray.wait()
    here, there = by_plan(local.trials), by_plan(ray.trials)
    losses = [
        (len(a.reports), [r.metrics for r in a.reports] == [r.metrics for r in there[key].reports])
        for key, a in here.items()
    ]
    scores = sum(trial.score == there[key].score for key, trial in here.items())
    epochs = sum(count for count, same in losses if same)
    console.print(
        f"equality: {len(here)} and {len(there)} trials, {scores} equal scores, {epochs} of "
        f"{sum(count for count, _ in losses)} epochs with the same bits in every metric"
    )
    picks = [recommended(each) for each in (local, ray)]
    console.print(f"equality: the answers are {picks[0]} and {picks[1]}")
    return here.keys() == there.keys() and scores == len(here) and all(same for _, same in losses)


def by_plan(trials: tuple[Trial, ...]) -> dict[tuple[int, int], Trial]:
    """Return trials by batch size and seed."""
    return {(trial.batch_size, trial.seed): trial for trial in trials if trial.scored}


def recommended(driver: Driver) -> int:
    """Return the batch size of an answer."""
    study = load_study(driver.study, driver.directory / "batch_size_studies", storage=driver.storage)
    return study.recommend().batch_size


def overhead(lab: Laboratory, console: Console) -> bool:
    """Compare the seconds of 8 trials of 5 s on two devices of each engine, from the first start to the last end."""
    options = ["--batch-sizes", "32,64,128,256", "--seeds", "2", "--epochs", "10", "--loop", "device", "--workers", "2"]
    took: dict[str, list[tuple[float, float]]] = {"local": [], "ray": []}
    for engine, more in (("local", ["--threads", "1"]), ("ray", lab.on_ray())) * 3:
        began = time.time()
        driver = lab.start(f"o-{uuid.uuid4().hex[:8]}", *options, *more, seconds_per_epoch=0.5)
        driver.wait()
        took[engine].append(times_of(driver, began))
    medians = {engine: [statistics.median(each) for each in zip(*found, strict=True)] for engine, found in took.items()}
    for engine, (first, whole) in medians.items():
        console.print(f"overhead: {engine:5}  first trial after {first:.1f} s, all 8 within {whole:.2f} s of that")
    ratio = medians["ray"][1] / medians["local"][1]
    later = medians["ray"][0] - medians["local"][0]
    console.print(f"overhead: {100 * (ratio - 1):+.1f} % (goal +5), the first trial {later:.1f} s later (goal 15)")
    return ratio <= 1.05 and later <= 15.0


def times_of(driver: Driver, began: float) -> tuple[float, float]:
    """Return the seconds until the first trial started, and from there to the end of the last."""
    assert driver.storage is not None
    trials = optuna.load_study(study_name=driver.study, storage=driver.storage).trials
    start = min(trial.datetime_start.timestamp() for trial in trials if trial.datetime_start)
    return start - began, max(
        trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete
    ) - start


def main() -> int:
    """Print what was asked for, and say whether it is as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["equality", "faults"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--faults", nargs="+", default=[], help="names of faults; all without")
    parser.add_argument("--postgres", metavar="URL")
    parser.add_argument("--restart", metavar="COMMAND", help="restarts that PostgreSQL")
    asked = parser.parse_args()
    console, good = Console(width=140), []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with laboratory(asked.postgres, asked.restart) as lab:
        if "equality" in asked.only:
            good.append(equality(lab, console))
        if "faults" in asked.only:
            good.append(faults(lab, console, asked.rounds, asked.faults))
        if "overhead" in asked.only:
            good.append(overhead(lab, console))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
