"""The course of one training: how its loss and its score moved from epoch to epoch, as numbers.

Everything here is measured between epochs, because an epoch tells one mean loss, in whichever loop it trained. The
spread of the losses of single updates within an epoch is not measured: it is mostly which examples a batch happened to
hold, and falls as 1/sqrt(B) whatever the training does.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt
import scipy

from tuning.objective import Objective
from tuning.trial import Trial

LEAST_EPOCHS = 5
"""Shorter trainings have no trend and no noise: four points and one before them are the fewest that show either."""

_WINDOW_SHARE = 1 / 3
_LEAST_WINDOW = 4  # of three points in a row, one order in six is monotone by chance
_CHANCE = 0.05
_LEAST_SHARE = 0.02
_NORMAL = 1.4826  # a median of absolute values becomes the standard deviation of a normal distribution
_LEAST_RESIDUALS = 4
_SPIKE_DEVIATIONS = 5.0
_LEAST_RISE = math.log(1.1)
_LOWEST = 0.01
_BEFORE = 3
_STEEP = 2  # epochs


@dataclass(frozen=True)
class Course:
    """One training by epochs. A series that any epoch lacks, or that is not finite throughout, is empty.

    Args:
        loss: Training loss of each epoch: its mean over the epoch, while the weights moved on.
        val_loss: Validation loss at the end of each epoch.
        gains: The objective at the end of each epoch, with the sign turned so that larger is better.
        kept: The epoch, from 1, whose weights the model ended with; None for the last.
        is_whole: Whether it trained for all epochs of its budget.
    """

    loss: tuple[float, ...] = ()
    val_loss: tuple[float, ...] = ()
    gains: tuple[float, ...] = ()
    kept: int | None = None
    is_whole: bool = True


def course_of(trial: Trial, objective: Objective) -> Course:
    """Return the course of a trial, from what its epochs reported."""
    kept = None if trial.outcome is None else trial.outcome.weights_epoch
    scores = _complete(trial, objective.name)
    gains = tuple(objective.sign * score for score in scores)
    is_whole = len(trial.reports) >= trial.budget.epochs
    return Course(_complete(trial, "loss"), _complete(trial, "val_loss"), gains, kept, is_whole)


def _complete(trial: Trial, name: str) -> tuple[float, ...]:
    values = [report.metrics.get(name, math.nan) for report in trial.reports]
    return tuple(values) if all(map(math.isfinite, values)) else ()


@dataclass(frozen=True)
class Trend:
    """Where a series went in the last part of a training.

    Args:
        change: Its change over that part, by the Theil-Sen line: the median slope of all pairs, times the epochs.
        least: The least change that counts: the noise of one value (`local_noise`), or a fiftieth of the range of the
            whole series where that is more. The latter is a convention of this project, for smooth curves.
        epochs: The epochs of that part.
        is_clear: Whether the order of the values would be so monotone by chance in less than 1 case of 20 (the
            one-sided test of Mann and Kendall), and the change counts.
    """

    change: float
    least: float
    epochs: int
    is_clear: bool

    @property
    def stays(self) -> bool:
        """Whether it did not rise by what counts, nor clearly fall.

        This is more than not to rise clearly: a rise that a short training merely cannot show is no standstill.
        """
        return self.change <= self.least and not self.is_clear

    @property
    def rises(self) -> bool:
        """Whether it clearly went up."""
        return self.is_clear and self.change > 0

    @property
    def falls(self) -> bool:
        """Whether it clearly went down."""
        return self.is_clear and self.change < 0


@dataclass(frozen=True)
class CurveFacts:
    """What the course of one training shows; None where it is too short, or was not logged.

    Args:
        epochs: The epochs that it trained.
        update_noise: Variability of the training loss between epochs, as a share of the loss (`update_noise`).
        spikes: The epochs in which the training loss jumped (`spikes`).
        fall: The trend of ln(training loss) at the end; None where a loss is not positive.
        gain: The trend of the objective at the end, larger being better.
        val_loss: The trend of the validation loss at the end.
        generalisation_gap: Validation minus training loss at the end (`generalisation_gap`).
        best_epoch: The epoch, from 1, of the best score.
        least_val_epoch: The epoch of the least validation loss.
        level_since: The first epoch whose score was as good as the median of its last part, but for what counts.
        lead: By how much the median score of the last part exceeds that of the part before it, of equally many epochs.
        moved: The largest fall of the training loss below its first epoch's, as a share of it.
        rise: By how much the best score exceeds that of the first epoch.
        is_whole: Whether it trained for all epochs of its budget.
    """

    epochs: int
    update_noise: float | None = None
    spikes: tuple[int, ...] | None = None
    fall: Trend | None = None
    gain: Trend | None = None
    val_loss: Trend | None = None
    generalisation_gap: float | None = None
    best_epoch: int | None = None
    least_val_epoch: int | None = None
    level_since: int | None = None
    lead: float | None = None
    moved: float | None = None
    rise: float | None = None
    is_whole: bool = True

    @property
    def measurements(self) -> Mapping[str, float | None]:
        """The numbers that a trial is shown with, by name."""
        return {
            "update_noise": self.update_noise,
            "loss_spikes": None if self.spikes is None else len(self.spikes),
            "generalisation_gap": self.generalisation_gap,
            "best_epoch": self.best_epoch,
        }


def curve_facts(course: Course) -> CurveFacts:
    """Return what a course shows."""
    loss, gains, val_loss = course.loss, course.gains, course.val_loss
    gain = end_trend(gains)
    return CurveFacts(
        epochs=max(len(loss), len(gains)),
        update_noise=update_noise(loss),
        spikes=spikes(loss),
        fall=end_trend(_logs(loss)),
        gain=gain,
        val_loss=end_trend(val_loss),
        generalisation_gap=generalisation_gap(course),
        best_epoch=1 + gains.index(max(gains)) if gains else None,
        least_val_epoch=1 + val_loss.index(min(val_loss)) if val_loss else None,
        level_since=None if gain is None else _level_since(gains, gain),
        lead=None if gain is None else _lead(gains, gain.epochs),
        moved=1 - min(loss) / loss[0] if _logs(loss) else None,
        rise=max(gains) - gains[0] if gains else None,
        is_whole=course.is_whole,
    )


def local_noise(values: Sequence[float]) -> float | None:
    """Return the standard deviation of a value around the line through its two neighbours; None below 3 values.

        r[i] = y[i] - (y[i-1] + y[i+1])/2,   Var r = 1.5 Var y,   noise = 1.4826 median|r| / sqrt(1.5)

    A smooth fall leaves no residual, so that a steep curve does not count as noisy; the median forgives single jumps.

    Args:
        values: One per epoch.

    Source: Gasser, Sroka, Jennen-Steinmetz, Residual variance and residual pattern in nonlinear regression (1986),
        with the median in the place of the mean of squares.
    """
    if len(values) < 3:
        return None
    y = np.asarray(values, dtype=float)
    residuals = y[1:-1] - (y[:-2] + y[2:]) / 2
    return float(_NORMAL * np.median(np.abs(residuals)) / math.sqrt(1.5))


def update_noise(loss: Sequence[float]) -> float | None:
    """Return the variability of the training loss between epochs, as a share: `local_noise` of ln(loss) after warm-up.

    The first third of the epochs is warm-up. Jumps (`spikes`) are told apart, and bridged by straight lines here: one
    disturbs three residuals, half of those of 12 epochs. A loss below a hundredth of the first epoch's counts as that
    hundredth: what a memorised training set does to the last digits is no noise of the training. All three are
    conventions of this project.

    Args:
        loss: Training loss by epoch.

    Returns:
        0.1 for epochs that differ by about 10 % from their neighbours; None below 8 epochs, or where a loss is not
        positive.
    """
    logs = _logs(loss)
    settled = [max(value, logs[0] + math.log(_LOWEST)) for value in _bridged(logs, spikes(loss) or ())]
    settled = settled[len(logs) // 3 :]
    return local_noise(settled) if len(settled) >= _LEAST_RESIDUALS + 2 else None


def _bridged(values: Sequence[float], epochs: Collection[int]) -> list[float]:
    """Return a series with straight lines in the place of some epochs, counted from 1."""
    kept = [i for i in range(len(values)) if i + 1 not in epochs]
    return [float(value) for value in np.interp(range(len(values)), kept, [values[i] for i in kept])] if kept else []


def spikes(loss: Sequence[float]) -> tuple[int, ...] | None:
    """Return the epochs, from 1, whose training loss jumped: above the median of up to three before.

    A jump exceeds five times the noise (`local_noise` of ln(loss)) and 10 %. The rule of five deviations is that of
    outliers by the median absolute deviation; the least rise is a convention of this project, so that smooth curves
    have no spikes.

    Returns:
        None below 5 epochs, or where a loss is not positive.
    """
    logs = _logs(loss)
    noise = local_noise(logs)
    if noise is None or len(logs) < LEAST_EPOCHS:
        return None
    least = max(_SPIKE_DEVIATIONS * noise, _LEAST_RISE)
    return tuple(i + 1 for i in range(2, len(logs)) if logs[i] - median(logs[max(0, i - _BEFORE) : i]) > least)


def end_trend(values: Sequence[float]) -> Trend | None:
    """Return where a series went in the last third of a training, at least its last four epochs.

    Args:
        values: One per epoch.

    Returns:
        None below 5 epochs.

    Source: Sen, Estimates of the regression coefficient based on Kendall's tau (1968); Mann, Nonparametric tests
        against trend (1945). Neither is moved by one wild epoch.
    """
    noise = local_noise(values)
    if noise is None or len(values) < LEAST_EPOCHS:
        return None
    last = window(len(values))
    y = np.asarray(values[-last:], dtype=float)
    earlier, later = np.triu_indices(last, k=1)
    change = float(np.median((y[later] - y[earlier]) / (later - earlier))) * (last - 1)
    least = max(noise, _LEAST_SHARE * float(np.ptp(values)))
    return Trend(change, least, last, abs(change) > least and _monotone_by_chance(y, change) < _CHANCE)


def _monotone_by_chance(y: npt.NDArray[np.float64], change: float) -> float:
    """Return the chance of an order at least as monotone, in the direction of the change, without any trend."""
    if np.ptp(y) == 0:
        return 1.0
    return float(scipy.stats.kendalltau(np.arange(len(y)), y if change > 0 else -y, alternative="greater").pvalue)


def window(epochs: int) -> int:
    """Return the epochs at the end that a trend is taken from: the last third, at least four."""
    return max(_LEAST_WINDOW, math.ceil(_WINDOW_SHARE * epochs))


def generalisation_gap(course: Course) -> float | None:
    """Return validation minus training loss at the end, or at the epoch whose weights were kept.

        gap = (val_loss[e-1] + val_loss[e])/2 - loss[e]

    The training loss is the mean over an epoch while the weights move, so its moment is the middle of the epoch; the
    validation loss is told at the end. Without the mean of both ends, a training that still falls steeply, as large
    batch sizes do, would seem to generalise better than it does. Dropout and other noise in training alone raise the
    training loss, so that the gap may be negative; compare it between batch sizes of one model only.

    Returns:
        None below 2 epochs, or where either loss was not logged.
    """
    loss, val_loss = course.loss, course.val_loss
    e = (course.kept or len(loss)) - 1
    if not 1 <= e < min(len(loss), len(val_loss)):
        return None
    return (val_loss[e - 1] + val_loss[e]) / 2 - loss[e]


def val_loss_at(course: Course, level: float) -> float | None:
    """Return the validation loss when the training loss first reached a level, so that trainings compare at equal fit.

    Both are interpolated, in logarithms where all are positive: the training loss between the middles of epochs, the
    validation loss between their ends.

    Args:
        course: The training.
        level: The training loss.

    Returns:
        None where it was not reached, or before the end of the second epoch: the first one falls so steeply that its
        mean stands for no moment of it.
    """
    loss, val_loss = course.loss, course.val_loss
    if len(val_loss) != len(loss) or len(loss) < _STEEP + 1 or loss[0] < level:
        return None
    to, back = (math.log, math.exp) if min(*loss, *val_loss, level) > 0 else (float, float)
    after = next((i for i, value in enumerate(loss) if value <= level), None)
    if after is None or after < _STEEP:
        return None
    high, low = to(loss[after - 1]), to(loss[after])
    at = after - 0.5 + (high - to(level)) / (high - low)
    ends = range(1, len(val_loss) + 1)
    return back(float(np.interp(at, ends, [to(value) for value in val_loss]))) if at >= _STEEP else None


def _logs(loss: Sequence[float]) -> list[float]:
    """Return ln(loss); nothing where any is not positive, since it then has no scale of its own."""
    return [math.log(value) for value in loss] if loss and min(loss) > 0 else []


def _lead(gains: Sequence[float], epochs: int) -> float | None:
    """Return the median of the last epochs less that of as many before them; None where there are not as many."""
    if len(gains) < 2 * epochs:
        return None
    return median(gains[-epochs:]) - median(gains[-2 * epochs : -epochs])


def _level_since(gains: Sequence[float], gain: Trend) -> int:
    """Return the first epoch, from 1, that was as good as the last part of the training, but for the noise."""
    least = float(np.median(gains[-gain.epochs :])) - gain.least
    return next(epoch for epoch, value in enumerate(gains, start=1) if value >= least)
