"""Progress of a search: live bars on a terminal or in a notebook, a line per trial elsewhere, nothing if quiet."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from tuning.objective import Objective
from tuning.trial import EpochReport, Status, Trial

_WIDTH = 80
_LIVE_WIDTH = 38  # what a device, a bar, the epochs and the time that is left leave of the columns
_SHORTEST = 4
_SPEED_OVER_S = 24 * 3600.0  # rich forgets what is older than 30 s, which a trial may take


class SearchProgress:
    """A display of how a search is going, on standard error or in the notebook.

    It shows how many trials are done, running and without a score, how long the rest will take, the best so far, and a
    line for each trial that runs. Counts are kept as trials end, so that a trial costs the same however many ended.

    Args:
        total: The number of trials planned.
        trials: Trials that an earlier run of the same study has ended.
        objective: The metric that a trial's score is, and which way is better.
        varied: The model's own hyperparameters that differ between trials; the others need no telling.
        quiet: Whether to show nothing.
        console: The console to write to; None for standard error.
    """

    def __init__(
        self,
        total: int,
        trials: Iterable[Trial],
        *,
        objective: Objective,
        varied: Iterable[str] = (),
        quiet: bool = False,
        console: Console | None = None,
    ) -> None:
        self._console = console or _console(quiet)
        self._total = total
        self._objective = objective
        self._varied = frozenset(varied)
        self._done = self._failed = 0
        self._best: tuple[float, Trial] | None = None
        self._lines: dict[str, TaskID] = {}
        self._devices: dict[str, str] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=self._console,
            speed_estimate_period=_SPEED_OVER_S,
        )
        for trial in trials:
            self._count(trial)
        self._overall = self._progress.add_task("trials", total=total, completed=self._done, told=self._tell_counts())
        self._is_live = self._console.is_terminal or self._console.is_jupyter
        self._live = Live(self, console=self._console)

    def __rich__(self) -> RenderableType:
        """Return what is shown live."""
        return Group(self._progress, Text(self._tell_best()))

    def __enter__(self) -> SearchProgress:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._is_live:
            self._live.refresh()  # rich 15 does not, when it stops in a notebook
            self._live.stop()

    def expect(self, total: int) -> None:
        """Show how many trials are planned by now."""
        self._total = total
        self._progress.update(self._overall, total=total)

    def tell(self, line: str) -> None:
        """Print a line above what is shown live; nothing if quiet."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def started(self, trial: Trial, device: str) -> None:
        """Show a trial that a device was given; the device's last one has ended even if that is reported later."""
        for trial_id in [trial_id for trial_id, on in self._devices.items() if on == device]:
            self._drop(trial_id)
        self._devices[trial.trial_id] = device
        told = self._name(trial, _LIVE_WIDTH)
        self._lines[trial.trial_id] = self._progress.add_task(device, total=trial.budget.epochs, told=told)
        self._progress.update(self._overall, told=self._tell_counts())

    def reported(self, report: EpochReport) -> None:
        """Show how far a running trial is."""
        # The line is gone if its device was given another trial before this report was read.
        if report.trial_id in self._lines:
            self._progress.update(self._lines[report.trial_id], completed=report.epoch)

    def ended(self, trial: Trial) -> None:
        """Count a trial that has ended, and print its line where nothing is live or it did not complete."""
        self._count(trial)
        self._drop(trial.trial_id)
        self._progress.update(self._overall, completed=self._done, told=self._tell_counts())
        if not self._is_live or trial.status is not Status.COMPLETED:
            self.tell(self._tell_trial(trial))

    def _drop(self, trial_id: str) -> None:
        """Take away the line of a trial, if it has one."""
        self._devices.pop(trial_id, None)
        if trial_id in self._lines:
            self._progress.remove_task(self._lines.pop(trial_id))

    def _count(self, trial: Trial) -> None:
        if not trial.is_settled:  # it runs again, and is counted then
            return
        self._done += 1
        if trial.score is None:
            self._failed += 1
        elif not math.isnan(trial.score) and (self._best is None or self._objective.better(trial.score, self._best[0])):
            self._best = trial.score, trial

    def _tell_counts(self) -> str:
        lost = f", {self._failed} without a score" if self._failed else ""
        return f"{len(self._lines)} running{lost}"

    def _tell_best(self) -> str:
        if self._best is None:
            return ""
        score, trial = self._best
        told = f"best {self._objective.name} {score:.4g} at "
        return told + self._name(trial, _WIDTH - len(told))

    def _tell_trial(self, trial: Trial) -> str:
        """Return the line of a trial that has ended, within 80 columns if it has a score."""
        begin = f"[{self._done}/{self._total}] "
        if trial.score is None:
            outcome = f"{(trial.status or 'running').replace('_', ' ')}: {trial.reason}"
            return f"{begin}{self._name(trial, _WIDTH)}: {outcome}"
        score = f": {self._objective.name} {trial.score:.4g}"
        room = _WIDTH - len(begin) - len(score)
        speed = f", {trial.examples_per_second:,.0f} examples/s" if trial.examples_per_second else ""
        whole = self._name(trial, _WIDTH)
        if len(whole) + len(speed) <= room:
            return f"{begin}{whole}{score}{speed}"
        return f"{begin}{self._name(trial, room)}{score}{'' if self._own(trial) else speed}"

    def _name(self, trial: Trial, width: int) -> str:
        """Return what tells a trial from the others, its own hyperparameters cut to the width."""
        rate = "" if trial.learning_rate is None else f" lr {trial.learning_rate:.3g}"
        begin, end, own = f"batch {trial.batch_size}{rate}", f" seed {trial.seed}", self._own(trial)
        room = width - len(begin) - len(end)
        if len(own) > room:
            own = "" if room < _SHORTEST else f"{own[: room - 1]}…"
        return f"{begin}{own}{end}"

    def _own(self, trial: Trial) -> str:
        return "".join(f" {name} {_short(value)}" for name, value in trial.hyperparameters if name in self._varied)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _console(quiet: bool) -> Console:
    """Return standard error, or the plain output of a notebook without ipywidgets, where nothing can be live."""
    found = Console(stderr=True, quiet=quiet)
    if found.is_jupyter and importlib.util.find_spec("ipywidgets") is None:
        return Console(file=sys.stdout, force_jupyter=False, force_terminal=False, quiet=quiet)
    return found
