"""KeptModels: the final weights of the best trials on disk, and nothing of the others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class KeptModels:
    """Where workers save weights, and which of them stay.

    Args:
        directory: The study's own.
        limit: How many to keep; 0 saves none.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory.resolve() / "weights"
        self._limit = limit

    @property
    def limit(self) -> int:
        """How many are kept."""
        return self._limit

    def path_to_save(self, trial_id: str) -> str | None:
        """Where a worker shall save a trial's weights; None if none are kept."""
        if self._limit == 0:
            return None
        self._directory.mkdir(parents=True, exist_ok=True)
        return str(self._path(trial_id))

    def keep(self, best: Iterable[str]) -> None:
        """Delete all weights but those of the best trials."""
        kept = {self._path(trial_id) for trial_id in best}
        for path in self._directory.glob("*.weights.h5"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def find(self, trial_id: str) -> Path:
        """The weights of a trial.

        Raises:
            ValueError: If they were not kept.
        """
        path = self._path(trial_id)
        if not path.exists():
            raise ValueError(
                f"Only the weights of the best {self._limit} trials are kept; trial {trial_id} is not among them. "
                "Raise keep_models, or train its hyperparameters again."
            )
        return path

    def _path(self, trial_id: str) -> Path:
        return self._directory / f"{trial_id}.weights.h5"
