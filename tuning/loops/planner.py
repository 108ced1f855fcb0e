"""Plans how a trial is trained: which loop, with which program, on data where."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from tuning.loops.arrays import DataPlacement, TrainingArrays
from tuning.loops.blocks import UncompilableModelError, UnsupportedModelError
from tuning.loops.callbacks import Clock
from tuning.loops.fit_plan import FitPlan, own_function
from tuning.loops.keras_loop import TimedFit, best_steps_per_execution, is_distributed, may_take_several
from tuning.loops.loading_pipeline import pipeline_for
from tuning.loops.loop import AUTO, KERAS, TIMED, Loop, Material, find_loop
from tuning.loops.loop_choice import CompilerTimeoutError, LoopChoice, choose_loop, plain_choice_after_timeout
from tuning.loops.model_builder import ModelBuilder, evaluation_batch_size
from tuning.loops.order import ExampleOrder
from tuning.loops.program import Program, ProgramCache
from tuning.loops.signature import model_signature
from tuning.loops.user_callbacks import acting_on_batches
from tuning.trial import Trial

_PATIENCE_S = 60.0  # with a compile that would disturb a timing


@dataclass(frozen=True)
class _Lent:
    """A program in use, the signature it was asked for by, and that of its model just before the training."""

    program: Program
    signature: str
    before_training: str
    trial: Trial


class Planner:
    """Makes the plan of each trial, and keeps what later trials can use: placed data, programs, loop choices.

    Args:
        builder: Builds the models.
        arrays: What they train on.
        placement: Where the arrays lie; None to decide by the free memory.
        callbacks: The user's, which a loop may refuse to train with.
    """

    def __init__(
        self,
        builder: ModelBuilder,
        arrays: TrainingArrays,
        placement: DataPlacement | None = None,
        callbacks: Sequence[Any] = (),
    ) -> None:
        self._builder = builder
        self._callbacks = callbacks
        self._data = placement or DataPlacement(arrays)
        self._programs = ProgramCache(self._data.free_bytes)
        self._choices: dict[tuple[str, int], LoopChoice] = {}
        self._unsupported: dict[str, str] = {}
        self._lent: _Lent | None = None
        self._timed: TimedFit | None = None
        self._abandoned: list[threading.Thread] = []

    def plan_timing(self, trial: Trial, order: ExampleOrder, clock: Clock) -> FitPlan:
        """Return how to train what is timed, whose weights may begin with any values; see `plan`.

        A compile that nobody waits for any more is waited for here, a minute at most.
        """
        plan = self._plan_timing(trial, order, clock)
        deadline = time.monotonic() + _PATIENCE_S
        for compiler in self._abandoned:
            compiler.join(max(0.0, deadline - time.monotonic()))
        return replace(plan, is_disturbed=self._is_disturbed())

    def _plan_timing(self, trial: Trial, order: ExampleOrder, clock: Clock) -> FitPlan:
        if trial.instructions.loop == KERAS:
            model = self._builder.build_for(trial)
            if not is_distributed(model):
                return self._timed_fit(model, trial).plan(self._data, order, clock)
        return self.plan(trial, order, clock)

    def plan(self, trial: Trial, order: ExampleOrder, clock: Clock) -> FitPlan:
        """Return the model of a trial in its initial state, and how to train it.

        Args:
            trial: What is trained.
            order: The examples of every gradient.
            clock: Is told every execution of the train function.

        Raises:
            ValueError: If the loop is unknown, or the one asked for cannot train this model.
        """
        self._timed = None
        return replace(self._plan_in(trial.instructions.loop, trial, order, clock), is_disturbed=self._is_disturbed())

    def _plan_in(self, name: str, trial: Trial, order: ExampleOrder, clock: Clock) -> FitPlan:
        if name == AUTO:
            return self._plan_by_choice(trial, order, clock)
        try:
            return self._plan_with(find_loop(name), self._material(trial), order, clock)
        except UnsupportedModelError as error:
            raise ValueError(f"The {name} loop cannot train this: {error}. Use the {KERAS} loop, or {AUTO}.") from error

    def plan_given(
        self, model: keras.Model, trial: Trial, order: ExampleOrder, clock: Clock, callbacks: Sequence[Any]
    ) -> FitPlan:
        """Return how to train a model that somebody else has built and goes on using; no other takes its place.

        Where the choice of a loop is left open, the first one that can train it is taken, in blocks or one by one.

        Args:
            model: Compiled, in its initial state.
            trial: What is trained.
            order: The examples of every gradient.
            clock: Is told every execution of the train function.
            callbacks: What it is trained with.

        Raises:
            ValueError: If the loop that is asked for cannot train it.
        """
        name = trial.instructions.loop
        for loop in (TIMED[0], KERAS) if name == AUTO else (name,):
            material = Material(trial, model, self._data, self._signature, self._new_program)
            try:
                _refuse(find_loop(loop).can_train(model, self._data, callbacks))
                plan = self._plan_with(find_loop(loop), material, order, clock)
                return replace(plan, is_disturbed=self._is_disturbed())
            except UnsupportedModelError as error:
                refusal = f"The {loop} loop cannot train this: {error}. Use the {KERAS} loop, or {AUTO}."
        raise ValueError(refusal)

    def finish(self) -> None:
        """Keep the program of the last plan, which was trained without incident, if it may serve again."""
        lent, self._lent = self._lent, None
        if lent is None or not lent.program.reusable:
            return
        if self._signature(lent.program.model, lent.trial) == lent.before_training:
            self._programs.keep(lent.signature, lent.program)

    @property
    def has_proven_program(self) -> bool:
        """Whether the last plan trains by a program that touches no state but variables, as its graph proves."""
        return self._lent is not None and self._lent.program.reusable

    def clear(self) -> None:
        """Drop all programs, for example after a trial ran out of memory."""
        self._lent = self._timed = None
        self._programs.clear()

    def _timed_fit(self, model: keras.Model, trial: Trial) -> TimedFit:
        """Return a model and its train function: those of the timing before, if it was of the same model."""
        signature = self._signature(model, trial)
        if self._timed is None or self._timed.signature != signature:
            self._timed = TimedFit(signature, model, own_function(model, "train"))
        return self._timed

    def _material(self, trial: Trial) -> Material:
        return Material(trial, self._builder.build_for(trial), self._data, self._signature, self._lend)

    def _lend(self, material: Material) -> Program:
        """Return the program of a model: one that was kept, with the model's values in it, else a new one."""
        if material.signature in self._unsupported:
            raise UnsupportedModelError(self._unsupported[material.signature])
        kept = self._programs.take(material.signature)
        if kept is not None and kept.adopt(material.model):
            return kept
        return self._new_program(material)

    def _new_program(self, material: Material) -> Program:
        size = evaluation_batch_size(material.model, material.trial, self._data.arrays.n_val)
        return Program(material.model, self._data.on_device, size)

    def _plan_with(self, loop: Loop, material: Material, order: ExampleOrder, clock: Clock) -> FitPlan:
        begin = time.perf_counter()
        _refuse(loop.can_train(material.model, self._data, self._callbacks))
        with self._remembering_refusals(material):
            plan = loop.plan(material, order, clock)
        program = material.borrowed
        if program is None:
            return plan
        before_training = self._signature(program.model, material.trial)
        self._lent = _Lent(program, material.signature, before_training, material.trial)
        return replace(
            plan,
            compile_seconds=time.perf_counter() - begin,
            settings={**plan.settings, "model_signature": material.signature},
        )

    def _plan_by_choice(self, trial: Trial, order: ExampleOrder, clock: Clock) -> FitPlan:
        try:
            return self._plan_with_faster(self._material(trial), order, clock)
        except UnsupportedModelError as error:
            return self._plan_fallback(trial, order, clock, str(error))

    def _plan_with_faster(self, material: Material, order: ExampleOrder, clock: Clock) -> FitPlan:
        """Plan with the faster of the two loops that are timed against each other."""
        begin = time.perf_counter()
        _refuse(find_loop(TIMED[0]).can_train(material.model, self._data, self._callbacks))
        key = (material.signature, material.trial.batch_size)
        updates = material.trial.instructions.trainings * order.updates_after(material.trial.budget.epochs)
        choice = self._choices.get(key)
        if choice is None or not choice.serves(updates):
            material, choice = self._choose(material, order, updates)
            self._choices[key] = choice
        plan = self._plan_with(find_loop(choice.loop), material, order, clock)
        return replace(
            plan,
            compile_seconds=time.perf_counter() - begin,
            measurements=choice.measurements,
            settings={**plan.settings, "loop_reason": choice.reason},
        )

    def _choose(self, material: Material, order: ExampleOrder, updates: int) -> tuple[Material, LoopChoice]:
        """Return the choice, and what to train with: fresh where the compiler still holds what it was given."""
        known = [choice for (signature, _), choice in self._choices.items() if signature == material.signature]
        refusal = find_loop(TIMED[1]).can_train(material.model, self._data, self._callbacks)
        with self._remembering_refusals(material):
            try:
                return material, choose_loop(material.program, order, updates, known, refusal=refusal)
            except CompilerTimeoutError as error:
                self._abandoned.append(error.compiler)
                choice = plain_choice_after_timeout(material.program, order, updates, error)
        return self._material(material.trial), choice

    def _is_disturbed(self) -> bool:
        """Return whether XLA still compiles what nobody waits for any more."""
        self._abandoned = [compiler for compiler in self._abandoned if compiler.is_alive()]
        return bool(self._abandoned)

    def _plan_fallback(self, trial: Trial, order: ExampleOrder, clock: Clock, reason: str) -> FitPlan:
        """Plan `fit`, with the updates per call chosen by timing."""
        begin = time.perf_counter()
        material, seconds = self._material(trial), dict[int, float]()
        if may_take_several(material.model) and not acting_on_batches(self._callbacks):
            pipeline = pipeline_for(self._data, order)
            updates = order.updates_after(trial.budget.epochs)
            steps, seconds = best_steps_per_execution(lambda: self._builder.build_for(trial), pipeline, updates)
            material = self._material(trial)
            material.model.steps_per_execution = steps
        plan = self._plan_with(find_loop(KERAS), material, order, clock)
        return replace(
            plan,
            compile_seconds=time.perf_counter() - begin,
            measurements={f"seconds_per_update_with_{steps}_per_call": value for steps, value in seconds.items()},
            settings={**plan.settings, "loop_reason": reason},
        )

    @contextlib.contextmanager
    def _remembering_refusals(self, material: Material) -> Iterator[None]:
        """Remember that tracing a model told that blocks cannot train it, so that it is not traced again."""
        try:
            yield
        except UncompilableModelError:
            raise
        except UnsupportedModelError as error:
            self._unsupported[material.signature] = str(error)
            raise

    def _signature(self, model: keras.Model, trial: Trial) -> str:
        evaluation_batch_size = trial.instructions.evaluation_batch_size
        return model_signature(model, dict(trial.hyperparameters), self._data.arrays, evaluation_batch_size)


def _refuse(reason: str) -> None:
    if reason:
        raise UnsupportedModelError(reason)
