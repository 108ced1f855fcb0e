"""Batch sizes that wait for their examples are named, with what their pipelines can do."""

from __future__ import annotations

from study_helpers import ended

from search_spaces.space import Setting
from tuning.instructions import Instructions
from tuning.messages import INPUT_SECONDS
from tuning.stats.input_bound import note_on_input
from tuning.trial import Trial


def trial(size: int, share: float | None, *, seed: int = 0, micro: int | None = None) -> Trial:
    """A trial of 100 examples per second whose pipeline needs a share of that time."""
    planned = Trial(Setting(size, 0.1), seed, trial_id="t", instructions=Instructions(micro_batch_size=micro))
    measurements = {} if share is None else {INPUT_SECONDS: share * (micro or size) / 100}
    return ended(planned, examples_per_second=100.0, measurements=measurements)


def test_sizes_whose_pipeline_takes_most_of_an_update_are_named_with_its_limit() -> None:
    note = note_on_input([trial(8, 0.5), trial(32, 0.8), trial(16, 1.0)])
    assert note.startswith(
        "Batch sizes 16 and 32 wait for their input: the pipeline alone makes 100 and 125 examples per second,"
    )
    assert note_on_input([trial(8, 0.9)]).startswith("Batch size 8 waits for its input: the pipeline alone makes 111")


def test_what_was_timed_alone_counts_before_what_trials_told() -> None:
    timed = {8: (0.9, 1.0), 32: (0.5, 1.0), 64: (1.0, 1.0)}
    note = note_on_input([trial(8, None), trial(32, 1.0), trial(16, 1.0)], timed)
    assert note.startswith("Batch sizes 8 and 16 wait for their input: the pipeline alone makes 8.89 and 100 examples")


def test_the_median_of_the_trials_of_a_size_counts() -> None:
    assert note_on_input([trial(8, share, seed=seed) for seed, share in enumerate((0.1, 0.2, 5.0))]) == ""
    assert note_on_input([trial(8, share, seed=seed) for seed, share in enumerate((0.1, 0.9, 0.9))])


def test_a_pipeline_makes_at_least_what_was_trained_on() -> None:
    assert "makes 100 examples per second" in note_on_input([trial(8, 3.0)])


def test_micro_batches_are_what_a_pipeline_makes() -> None:
    assert "makes 100 examples per second" in note_on_input([trial(64, 1.0, micro=16)])


def test_nothing_is_said_where_nothing_is_known() -> None:
    unknown = ended(Trial(Setting(8, 0.1), 0, trial_id="t"), measurements={INPUT_SECONDS: 1.0})
    assert note_on_input([trial(8, None), unknown, Trial(Setting(8, 0.1), 0, trial_id="t")]) == ""
