from __future__ import annotations

import keras_tuner
import optuna
import pytest

from search_spaces import BatchSize, LearningRate, SearchSpace, Setting
from tuning.study.encoding import BATCH_SIZE_RANK, LEARNING_RATE_OFFSET, Encoding, distribution_of
from tuning.study.plans import BayesianPlan, GridPlan, Pause, Planned, is_out_of_memory, owed
from tuning.study.records import TrialRecord, read_record
from tuning.trial import Status, TrialOutcome


def space(*sizes: int, rate: LearningRate | None = LearningRate(), entries: tuple[object, ...] = ()) -> SearchSpace:
    return SearchSpace(BatchSize.of(*sizes), rate, optimizer="Adam", model_rate=0.001, entries=entries)


def record(
    setting: Setting,
    status: Status | None = Status.COMPLETED,
    *,
    seed: int = 0,
    stage: str = "search",
    score: float = 0.5,
) -> TrialRecord:
    outcome = None if status is None else TrialOutcome("t", status)
    return TrialRecord("t", 0, setting, seed, stage, outcome, score=score if status is Status.COMPLETED else None)


def run_out(plan: GridPlan | BayesianPlan, scores: dict[int, float] | None = None) -> list[Planned]:
    """Run a plan to its end with scores by batch size."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    records: list[TrialRecord] = []
    planned = []
    while not isinstance(trial := plan.next(study, records, "t"), Pause):
        started = read_record(study.trials[trial.number])
        assert started is not None
        score = (scores or {}).get(started.setting.batch_size, 0.5)
        study.tell(trial, score)
        planned.append(Planned(started.setting, started.seed, started.stage))
        records.append(record(started.setting, seed=started.seed, stage=started.stage, score=score))
    return planned


def test_a_grid_compares_all_sizes_at_the_first_seed_before_the_second() -> None:
    planned = run_out(GridPlan(space(8, 32, 128), seeds=2))
    assert [(p.seed, p.setting.batch_size) for p in planned] == [(0, 8), (0, 32), (0, 128), (1, 8), (1, 32), (1, 128)]


def test_a_grid_goes_on_with_what_is_missing() -> None:
    plan = GridPlan(space(8, 32), seeds=1)
    done = record(space(8, 32).grid()[0])
    found = plan.next(optuna.create_study(), [done], "t")
    assert not isinstance(found, Pause)
    assert found.user_attrs["trial"]["setting"]["batch_size"] == 32


def test_an_interrupted_trial_is_owed_until_somebody_runs_it() -> None:
    setting = Setting(8, 0.1)
    interrupted = record(setting, Status.INTERRUPTED, seed=2)
    assert owed([interrupted]) == Planned(setting, 2, "search")
    assert owed([interrupted, record(setting, None, seed=2)]) is None
    assert owed([record(setting, Status.FAILED)]) is None


def test_a_bayesian_plan_confirms_the_leaders_on_fresh_paired_seeds() -> None:
    plan = BayesianPlan(space(8, 32, 128), max_trials=12, seeds=2, maximize=True, leaders=2)
    planned = run_out(plan, {8: 0.9, 32: 0.8, 128: 0.7})
    confirmed = [(p.setting.batch_size, p.seed) for p in planned if p.stage == "confirm"]
    assert confirmed == [(8, 1), (32, 1), (8, 2), (32, 2)]
    assert len(planned) == plan.total([])


def test_the_leaders_are_those_that_the_sampler_expects_to_be_best() -> None:
    def small_ones_are_lucky(study: optuna.Study) -> dict[Setting, float]:
        found = [record for trial in study.trials if (record := read_record(trial)) is not None]
        return {record.setting: float(record.setting.batch_size) for record in found}

    plan = BayesianPlan(
        space(8, 32, 128), max_trials=12, seeds=2, maximize=True, leaders=2, expected=small_ones_are_lucky
    )
    planned = run_out(plan, {8: 0.9, 32: 0.8, 128: 0.7})
    assert [(p.setting.batch_size, p.seed) for p in planned if p.stage == "confirm"] == [
        (128, 1),
        (32, 1),
        (128, 2),
        (32, 2),
    ]


def test_a_resumed_confirmation_goes_on_with_the_settings_it_began_with() -> None:
    begun = [Setting(8, 0.1), Setting(32, 0.1)]
    searched = [record(begun[0], score=0.1), record(begun[1], score=0.2), record(Setting(8, 0.2), score=0.9)]
    confirmed = record(begun[0], seed=1, stage="confirm")
    plan = BayesianPlan(space(8, 32), max_trials=3, seeds=2, maximize=True, leaders=1)
    trial = plan.next(optuna.create_study(), [*searched, confirmed], "t")
    assert not isinstance(trial, Pause)
    opened = read_record(trial.study.trials[trial.number])
    assert opened is not None
    assert (opened.setting, opened.seed) == (begun[0], 2)


def test_a_setting_that_is_proposed_again_gets_a_seed_that_no_confirmation_uses() -> None:
    class Same(optuna.samplers.RandomSampler):
        def sample_independent(self, *_: object) -> float:
            return 0.0

    study = optuna.create_study(direction="maximize", sampler=Same())
    plan, records = BayesianPlan(space(8, 32), max_trials=3, seeds=2, maximize=True), list[TrialRecord]()
    for _ in range(3):
        trial = plan.next(study, records, "t")
        assert not isinstance(trial, Pause)
        opened = read_record(study.trials[trial.number])
        assert opened is not None
        records.append(record(opened.setting, seed=opened.seed))
        study.tell(trial, 0.5)
    assert [(r.setting.batch_size, r.seed) for r in records] == [(8, 0), (8, 3), (8, 4)]


def test_a_finite_space_ends_when_everything_has_been_tried() -> None:
    searched = run_out(BayesianPlan(space(8, rate=LearningRate.choices(0.1)), max_trials=9, seeds=1, maximize=True))
    assert len({p.setting for p in searched}) == 1


def test_confirmation_waits_for_running_trials() -> None:
    plan = BayesianPlan(space(8), max_trials=1, seeds=2, maximize=True)
    assert plan.next(optuna.create_study(), [record(Setting(8, 0.1), None)], "t") is Pause.WAIT


def test_running_out_of_memory_rules_out_all_larger_sizes() -> None:
    failed = record(Setting(64, 0.1), Status.OUT_OF_MEMORY)
    assert is_out_of_memory(Setting(64, 0.3), [failed])
    assert is_out_of_memory(Setting(128, 0.1), [failed])
    assert not is_out_of_memory(Setting(32, 0.1), [failed])
    assert not is_out_of_memory(Setting(128, 0.1, (("units", 8),)), [failed])


def test_a_death_below_a_size_that_fits_was_not_for_memory() -> None:
    records = [record(Setting(64, 0.1), Status.OUT_OF_MEMORY), record(Setting(256, 0.1))]
    assert not is_out_of_memory(Setting(128, 0.1), records)


def test_learning_rates_are_offsets_from_the_rule() -> None:
    encoding = Encoding(space(8, 32), search_rates=True)
    setting = encoding.decode({BATCH_SIZE_RANK: 1, LEARNING_RATE_OFFSET: -1.0})
    assert setting == Setting(32, pytest.approx(1e-4))
    params, distributions = encoding.encode(setting)
    assert params == {BATCH_SIZE_RANK: 1, LEARNING_RATE_OFFSET: pytest.approx(-1.0)}
    assert distributions.keys() == params.keys()


def test_conditional_hyperparameters_travel_there_and_back() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("kind", ["mlp", "cnn"])
    with hp.conditional_scope("kind", ["cnn"]):
        hp.Int("filters", 8, 32, step=8)
    hp.Fixed("constant", 3)
    encoding = Encoding(space(8, entries=tuple(hp.space)), search_rates=False)
    assert encoding.conditional({BATCH_SIZE_RANK: 0, "kind": "mlp"}) == {}
    params = {BATCH_SIZE_RANK: 0, "kind": "cnn"}
    assert list(encoding.conditional(params)) == ["filters"]
    setting = encoding.decode({**params, "filters": 16})
    assert dict(setting.hyperparameters) == {"kind": "cnn", "filters": 16, "constant": 3}
    assert encoding.encode(setting)[0] == {**params, "filters": 16}


def test_every_kind_of_hyperparameter_has_its_distribution() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Int("stepped", 10, 25, step=10)
    hp.Int("logarithmic", 1, 100, sampling="log")
    hp.Int("powers", 4, 32, step=2, sampling="log")
    hp.Float("linear", 0.0, 1.0)
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    hp.Boolean("flag")
    hp.Fixed("one", 1)
    found = [distribution_of(entry) for entry in hp.space]
    assert found == [
        optuna.distributions.IntDistribution(10, 20, step=10),
        optuna.distributions.IntDistribution(1, 100, log=True),
        optuna.distributions.CategoricalDistribution((4, 8, 16, 32)),
        optuna.distributions.FloatDistribution(0.0, 1.0),
        optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
        optuna.distributions.CategoricalDistribution((True, False)),
        None,
    ]
