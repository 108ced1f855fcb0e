"""A `keras_tuner.Tuner` whose models are built in workers: what KerasTuner's users expect, apart from searching."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras_tuner

from tuning.messages import ModelDescription
from tuning.study.checkpoints import KeptModels


class WorkerBuiltTuner(keras_tuner.Tuner):
    """The driver never builds a model, which would take the GPU, except to hand a trained one over.

    Args:
        oracle: Decides what is tried.
        hypermodel: `build_model(hp)`, `build_model()` or a `keras_tuner.HyperModel`.
        directory: Where studies keep their records.
        project_name: Name of the study; None for one of the hypermodel's name and the kind of search.
        kind: Of search.
        keep_models: How many trials' weights stay on disk.
    """

    def __init__(
        self,
        oracle: Any,
        hypermodel: Any,
        *,
        directory: str | Path | None,
        project_name: str | None,
        kind: str,
        keep_models: int,
    ) -> None:
        self._description: ModelDescription | None = None
        self._input_shape: tuple[int | None, ...] = (None,)
        super().__init__(
            oracle,
            _accepting_hp(hypermodel),
            directory=str(directory or "."),
            project_name=project_name or f"{_name_of(hypermodel)}-{kind}",
        )
        self._kept = KeptModels(Path(self.project_dir), keep_models)

    @property
    def project_dir(self) -> str:
        """The study's directory; KerasTuner would create it on the first look."""
        return str(Path(self.directory) / self.project_name)

    def load_model(self, trial: Any) -> Any:
        """The model of a trial with its final weights; KerasTuner's `get_best_models` calls this.

        Raises:
            ValueError: If the weights were not kept.
        """
        path = self._kept.find(trial.trial_id)
        model = self.hypermodel.build(trial.hyperparameters.copy())
        if not model.built:
            model.build(self._input_shape)
        if model.optimizer is not None:
            model.optimizer.build(model.trainable_variables)  # its state is in the file too
        model.load_weights(path)
        return model

    def search_space_summary(self, extended: bool = False) -> None:
        """Print the search space; the build function's part is known once a search has started."""
        print(f"Batch sizes: {self.batch_size or 'powers of 2 that suit the data'}")
        print(f"Learning rate: {self.learning_rate or 'the model’s own, following the batch size'}")
        if self._description is None:
            print("The model is built in a worker when search() starts; its hyperparameters are listed from then on.")
        super().search_space_summary(extended)

    def _populate_initial_space(self) -> None:
        """KerasTuner would build the model here, in the driver, and take the GPU; a worker builds it instead."""
        hp = self.oracle.get_space()
        self.hypermodel.declare_hyperparameters(hp)
        self.oracle.update_space(hp)


def _accepting_hp(hypermodel: Any) -> Any:
    """KerasTuner calls `build(hp)`; a `build_model()` that takes none is as welcome."""
    if hasattr(hypermodel, "build") or not callable(hypermodel) or inspect.signature(hypermodel).parameters:
        return hypermodel
    return lambda _hp: hypermodel()


def _name_of(hypermodel: Any) -> str:
    return str(getattr(hypermodel, "__name__", type(hypermodel).__name__))
