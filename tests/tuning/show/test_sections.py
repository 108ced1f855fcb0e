"""What the figures of a report say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from example_evidence import ACCURACY, SIZES, evidence, trials

from tuning.objective import Objective
from tuning.record.runs import Measurements
from tuning.show.canvas import Section, sketch
from tuning.show.cost_sections import cost_section, energy_section, updates_section
from tuning.show.evidence import analyse, common_score
from tuning.show.sections import memory_section, quality_section, rates_section, throughput_section
from tuning.stats.arms import group_into_arms
from tuning.stats.scaling_law import ScalingLaw
from tuning.trial import Status, Trial, finished_trial

LAW_SIZES = (2, 8, 32, 128, 512, 2048)


def axes_of(section: Section) -> object:
    assert section.draw is not None
    return sketch(section.draw).axes[0]


def labels(section: Section) -> list[str]:
    return axes_of(section).get_legend_handles_labels()[1]


def test_the_score_in_common_is_the_worst_of_the_best() -> None:
    arms = group_into_arms(trials(), objective=ACCURACY)
    curves = {arm.batch_size: [t.curve(ACCURACY.name)[1] for t in arm.trials if t.scored] for arm in arms}
    assert common_score(arms, [4, 16], objective=ACCURACY) == min(map(max, curves[4] + curves[16]))
    assert common_score(arms, [], objective=ACCURACY) is None


def test_the_loss_in_common_is_the_largest_of_the_least() -> None:
    loss = Objective("val_loss", "min")
    falling = [finished_trial(8, seed, 0.3, metric="val_loss", curve=[(9, 0.5), (18, 0.3 - seed)]) for seed in (0, 1)]
    assert common_score(group_into_arms(falling, objective=loss), [8], objective=loss) == 0.3


def test_without_a_curve_there_is_no_score_in_common() -> None:
    arms = group_into_arms([*trials((4,), multiples=(1,)), finished_trial(16, 0, 0.9)], objective=ACCURACY)
    assert common_score(arms, [16], objective=ACCURACY) is None


def test_without_a_target_time_is_shown_to_what_the_eligible_sizes_reached() -> None:
    found = evidence()
    section = cost_section(found, analyse(found))
    assert section.title == "Time to the target"
    assert "which every training with" in section.told
    assert "the pick does not rest on it" in section.told


def test_a_target_asked_for_shows_the_law_the_critical_size_and_the_flat_zone() -> None:
    found = evidence(trials(LAW_SIZES, multiples=(1,), seeds=1, epochs=200), target=0.6)
    analysis = analyse(found)
    updates = updates_section(found, analysis)
    law = analysis.wide.explanation.scaling_law
    assert law is not None
    assert law.identified, law.doubts
    assert law.critical_batch_size == pytest.approx(90, rel=0.2)
    assert "The target is val_accuracy 0.600. The critical batch size is" in updates.told
    assert "fitted law" in labels(updates)
    assert any(label.startswith("critical batch size") for label in labels(updates))
    cost = cost_section(found, analysis)
    assert {"fitted", "flat zone (within 5 %)"} <= set(labels(cost))


def test_a_law_that_is_not_identified_says_why_and_draws_no_critical_size() -> None:
    found = evidence()
    section = updates_section(found, analyse(found))
    assert "The critical batch size is not identified: " in section.told
    assert not any(label.startswith("critical") for label in labels(section))


def test_a_target_that_nothing_reaches_leaves_the_cost_of_the_budget() -> None:
    found = evidence(target=2.0)
    section = cost_section(found, analyse(found))
    assert section.title == "Cost of training"
    assert "no batch size reached val_accuracy 2.00 with enough of its seeds" in section.told


def test_updates_of_another_exponent_have_a_critical_size_but_no_fitted_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScalingLaw, "describes_updates", False)
    found = evidence(trials(LAW_SIZES, multiples=(1,), seeds=1, epochs=200), target=0.6)
    analysis = analyse(found)
    updates, cost = updates_section(found, analysis), cost_section(found, analysis)
    assert any(label.startswith("critical batch size") for label in labels(updates))
    assert "fitted" not in labels(cost)
    assert "the updates follow the law with an exponent of" in cost.told


def test_why_there_is_no_fitted_time_is_said() -> None:
    unidentified = cost_section(evidence(), analyse(evidence()))
    assert "these trials do not identify the law of updates" in unidentified.told
    bent = [
        replace(trial, outcome=replace(trial.outcome, examples_per_second=_bent(trial)))
        for trial in trials(LAW_SIZES, multiples=(1,), seeds=1, epochs=200)
        if trial.outcome is not None and trial.examples_per_second
    ]
    found = evidence(bent, target=0.6)
    assert (
        "the seconds per update follow no line in the batch size (off by up to"
        in cost_section(found, analyse(found)).told
    )


def _bent(trial: Trial) -> float:
    return (trial.examples_per_second or 0.0) * (3 if trial.batch_size == 32 else 1)


def test_quality_marks_seeds_means_and_the_pick() -> None:
    section = quality_section(evidence(), analyse(evidence()))
    assert {"one seed", "mean ± standard error"} <= set(labels(section))
    assert sum(label.startswith("recommended") for label in labels(section)) == 1


def test_throughput_comes_from_the_probe_or_says_that_it_does_not() -> None:
    probed = throughput_section(evidence(), analyse(evidence()))
    assert probed.told.startswith("Measured apart from trials")
    assert {"plain model.fit", "the trials' loop"} <= set(labels(probed))
    bare = evidence(measurements=Measurements())
    own = throughput_section(bare, analyse(bare))
    assert "none was measured apart" in own.told
    assert f"measured at {bare.answer.recommendation.batch_size} alone" in own.told


def test_what_was_timed_of_plain_fit_alone_stands_beside_the_advised_size_in_the_trials_loop() -> None:
    timed = evidence(measurements=Measurements(examples_per_second={"keras": {4: 1e4, 32: 2e4}}))
    section = throughput_section(timed, analyse(timed))
    assert section.told.startswith("Measured apart from trials")
    assert {"plain model.fit", "the trials' loop"} <= set(labels(section))


def test_memory_shows_the_limit_and_what_ran_out() -> None:
    section = memory_section(evidence())
    assert {"fits", "does not fit", "limit", "line"} <= set(labels(section))
    assert "An example takes 0.9 MiB. The limit is 900 MiB (--memory-limit)." in section.told


def test_one_learning_rate_per_size_is_said() -> None:
    single = evidence(trials(multiples=(1,)))
    assert rates_section(single, analyse(single)).told.startswith("One learning rate was tried")


def test_every_axis_has_a_label() -> None:
    found = evidence(trials(SIZES))
    analysis = analyse(found)
    for section in (quality_section(found, analysis), cost_section(found, analysis), memory_section(found)):
        axes = axes_of(section)
        assert axes.get_xlabel()
        assert axes.get_ylabel()


def test_a_setting_is_crossed_only_where_no_seed_has_a_score() -> None:
    some = evidence()  # the largest batch size lost one of its three seeds
    assert "no score" not in labels(rates_section(some, analyse(some)))
    lost = finished_trial(64, 0, None, status=Status.FAILED, learning_rate=0.5)
    none = evidence([*trials((4, 16), multiples=(1,)), lost])
    assert "no score" in labels(rates_section(none, analyse(none)))


def with_energy(**changes: object) -> tuple[Trial, ...]:
    return tuple(replace(trial, outcome=replace(trial.outcome, **changes)) for trial in trials() if trial.outcome)


def test_energy_is_drawn_with_the_idle_power_beside_it() -> None:
    energy = with_energy(joules_per_example=0.2, mean_watts=150.0, measurements={"idle_watts": 55.0})
    (section,) = energy_section(evidence(energy))
    assert axes_of(section).get_ylabel() == "joules per example"
    assert "The mean power was 150 to 150 W. While idle it was 55.0 W, which is not subtracted." in section.told


def test_energy_that_could_not_be_read_is_left_out_with_the_reason() -> None:
    (section,) = energy_section(evidence(with_energy(energy_note="there is no counter")))
    assert section.draw is None
    assert "there is no counter" in section.told


def test_energy_that_nobody_tried_to_read_is_not_mentioned() -> None:
    assert energy_section(evidence()) == ()
