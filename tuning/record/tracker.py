"""Tracker: the seam through which a search is recorded for people to browse."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from tuning.messages import Measurement
from tuning.trial import EpochReport, Trial, TrialOutcome

Files = Mapping[str, bytes | str]
Deciding = Mapping[str, Mapping[str, float]]


class Tracker(Protocol):
    """Records one study. The driver alone calls it, from one thread, in this order for each trial: `start_trial`,
    `epoch` any number of times, `end_trial`. Measurements come between, whenever they are made.

    Beginning may wait a while for a server, and fails where a store cannot be used. No method raises because a server
    is away, slow or asks for another password, and once a search runs, none but `close` waits for one.
    Every implementation passes the tests of `TrackerContract` (tests/tuning/record/tracker_contract.py).
    """

    @property
    def tracking_uri(self) -> str:
        """The store's URI; empty if nothing is recorded."""
        ...

    @property
    def experiment_id(self) -> str:
        """The study's experiment; empty before `start_study`, and while it could not be opened."""
        ...

    def prepare(self) -> None:
        """Do ahead what beginning takes time for and what leaves no trace; called while the workers start."""
        ...

    def fresh(self, study: str) -> None:
        """Set what an earlier search of this name recorded aside; nothing is destroyed."""
        ...

    def start_study(self, study: str, settings: Mapping[str, str]) -> None:
        """Begin, or go on with, the record of a study; called once more before the end, it shows other settings.

        Args:
            study: Its name.
            settings: What was asked for, shown to people and read back by `read_study`, which looks for `objective`
                (a metric's name) and `mode` ("max" or "min").
        """
        ...

    def reconcile(self, finished: Collection[str], interrupted: Collection[str]) -> None:
        """Make the record agree with the search's own, before the first trial of this process starts.

        Args:
            finished: Trials that ended.
            interrupted: Trials that a killed driver left behind.
        """
        ...

    def missing(self, ended: Mapping[str, int]) -> set[str]:
        """Return the trials without a complete record, and without one on its way; they are to be recorded again.

        Args:
            ended: Trials that ended, with the number of their last epoch, 0 if they have none.
        """
        ...

    def start_trial(self, trial: Trial) -> None:
        """Record that a trial begins, with its setting, seed, budget and stage; an earlier record of it is replaced."""
        ...

    def epoch(self, report: EpochReport) -> None:
        """Record what an epoch measured."""
        ...

    def end_trial(self, outcome: TrialOutcome) -> None:
        """Record how a trial ended."""
        ...

    def measured(self, measurement: Measurement) -> None:
        """Record what was measured apart from trials, in place of an earlier measurement of that name."""
        ...

    def recommended(
        self,
        recommendation: Mapping[str, Any],
        markdown: str,
        files: Files | None = None,
        deciding: Deciding | None = None,
    ) -> None:
        """Record the recommendation, in place of an earlier one.

        Args:
            recommendation: As JSON can hold it.
            markdown: The same for people.
            files: Contents of further files, by name: the report, its plots.
            deciding: The trials that decided, by name, with the numbers of the recommendation's table.
        """
        ...

    def close(self) -> None:
        """Wait a while for what is still to be sent; warn if it cannot be sent. More may be recorded afterwards."""
        ...


class NullTracker:
    """A tracker that records nothing: for tests, and for whoever wants no record."""

    tracking_uri = ""
    experiment_id = ""

    def prepare(self) -> None:
        """Do nothing."""

    def fresh(self, study: str) -> None:
        """Do nothing."""

    def start_study(self, study: str, settings: Mapping[str, str]) -> None:
        """Do nothing."""

    def reconcile(self, finished: Collection[str], interrupted: Collection[str]) -> None:
        """Do nothing."""

    def missing(self, ended: Mapping[str, int]) -> set[str]:  # noqa: ARG002  (the protocol's signature)
        """Return none, for nothing is missing where nothing is kept."""
        return set()

    def start_trial(self, trial: Trial) -> None:
        """Do nothing."""

    def epoch(self, report: EpochReport) -> None:
        """Do nothing."""

    def end_trial(self, outcome: TrialOutcome) -> None:
        """Do nothing."""

    def measured(self, measurement: Measurement) -> None:
        """Do nothing."""

    def recommended(
        self,
        recommendation: Mapping[str, Any],
        markdown: str,
        files: Files | None = None,
        deciding: Deciding | None = None,
    ) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
