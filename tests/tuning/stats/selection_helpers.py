"""Trials for the tests of selection."""

from tuning.objective import Objective
from tuning.trial import Status, finished_trial

MAX, MIN = Objective("val_accuracy"), Objective("val_accuracy", "min")

RATES = {8: 500.0, 32: 2000.0, 128: 6000.0, 512: 9000.0}
NOISE = (0.002, -0.001, -0.001)


def trial(batch_size, seed=0, objective=None, status=Status.COMPLETED, **fields):
    """An ended trial; `examples_seen` and `objective_curve` are its evaluations."""
    curve = tuple(zip(fields.pop("examples_seen", ()), fields.pop("objective_curve", ()), strict=True))
    return finished_trial(
        batch_size,
        seed,
        objective,
        status=status,
        curve=curve,
        hyperparameters=dict(fields.pop("hyperparameters", ())),
        **fields,
    )


def study(means, *, noise=NOISE, rates=None, **fields):
    """Completed trials with these means by batch size; the noise by seed changes its order with the batch size."""
    return [
        trial(
            size,
            seed,
            mean + noise[(seed + i) % len(noise)],
            examples_per_second=None if rates is None else rates[size],
            **fields,
        )
        for i, (size, mean) in enumerate(sorted(means.items()))
        for seed in range(len(noise))
    ]


def timed(examples_to_target, *, seeds=3, spread=0.02, rates=None, target=0.9, budget=100_000):
    """Trials that reach the target at about these examples (None: never); their score then stays just above it."""
    results = []
    for i, (size, examples) in enumerate(sorted(examples_to_target.items())):
        for seed in range(seeds):
            hit = None if examples is None else round(examples * (1 + spread * ((seed + i) % 3 - 1)))
            seen = (hit - 1, hit, budget) if hit else (budget // 2, budget)
            curve = (0.0, target, target + 0.01) if hit else (0.0, 0.5)
            results.append(
                trial(
                    size,
                    seed,
                    curve[-1],
                    examples_seen=seen,
                    objective_curve=curve,
                    examples_per_second=None if rates is None else rates[size],
                )
            )
    return results
