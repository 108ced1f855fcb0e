"""Plans how a trial is trained: which loop, with which program, on data where."""

from __future__ import annotations

import functools
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from tuning.loops.arrays import DataPlacement, TrainingArrays
from tuning.loops.blocks import UnsupportedModelError
from tuning.loops.clock import Clock
from tuning.loops.fit_plan import FitPlan
from tuning.loops.keras_loop import EpochPipeline
from tuning.loops.loop import Loop, Workbench
from tuning.loops.loop_choice import CompilerTimeoutError, LoopChoice, choose_loop
from tuning.loops.model_builder import ModelBuilder
from tuning.loops.order import ExampleOrder
from tuning.loops.pipeline_plan import PipelinePlans
from tuning.loops.program import Program
from tuning.loops.registry import AUTO, DEVICE, KERAS, XLA, loop_named
from tuning.loops.signature import model_signature
from tuning.trial import Trial


@dataclass(frozen=True)
class _Lent:
    """A program in use, the signature it was asked for by, and that of its model once the training was planned."""

    program: Program
    signature: str
    trial: Trial
    before_training: str = ""


class _Loan:
    """Lends a program to one plan, once, and remembers what was lent."""

    def __init__(self, planner: Planner, model: keras.Model, trial: Trial) -> None:
        self.trial = trial
        self.lent: _Lent | None = None
        self._planner, self._model = planner, model

    @functools.cached_property
    def signature(self) -> str:
        """The signature of the model as it was built."""
        return self._planner._signature(self._model, self.trial)

    def program(self) -> Program:
        """Return the program of the trial.

        Raises:
            UnsupportedModelError: If such a model has turned out before to run in no block.
        """
        if self.lent is None:
            if (reason := self._planner._unsupported.get(self.signature)) is not None:
                raise UnsupportedModelError(reason)
            self.replace(self._planner._program(self._model, self.signature, self.trial))
        assert self.lent is not None
        return self.lent.program

    def replace(self, program: Program) -> None:
        """Lend another program."""
        self.lent = _Lent(program, self.signature, self.trial)

    def is_unsupported(self, reason: str) -> None:
        """Remember that such a model runs in no block."""
        if self.lent is not None:
            self._planner._unsupported[self.signature] = reason


class Planner:
    """Makes the plan of each trial, and keeps what later trials can use: placed data, programs, loop choices.

    Args:
        builder: Builds the models.
        arrays: What they train on.
        placement: Where the arrays lie; None to decide by the free memory.
    """

    def __init__(self, builder: ModelBuilder, arrays: TrainingArrays, placement: DataPlacement | None = None) -> None:
        self._builder = builder
        self._arrays = arrays
        self._placement = placement or DataPlacement(arrays)
        self._pipelines = PipelinePlans(arrays, self._placement)
        self._programs = ProgramCache(self._placement.free_bytes)
        self._choices: dict[tuple[str, int], LoopChoice] = {}
        self._unsupported: dict[str, str] = {}
        self._lent: _Lent | None = None

    def plan(self, trial: Trial, order: ExampleOrder, clock: Clock, callbacks: Sequence[Any] = ()) -> FitPlan:
        """Return the model of a trial in its initial state, and how to train it.

        Args:
            trial: The trial.
            order: Its examples.
            clock: Told every execution of the train function.
            callbacks: The user's.

        Raises:
            ValueError: If the loop is unknown, or the one asked for cannot train this model.
        """
        asked = trial.instructions.loop
        loop = loop_named(DEVICE if asked == AUTO else asked)
        model = self._builder.build_for(trial)
        try:
            if reason := loop.can_train(model, self._placement, callbacks):
                raise UnsupportedModelError(reason)
            return self._plan(None if asked == AUTO else loop, model, trial, order, clock)
        except UnsupportedModelError as error:
            if asked != AUTO:
                raise ValueError(
                    f"The {asked} loop cannot train this: {error}. Use the {KERAS} loop, or {AUTO}."
                ) from error
            return self._fallback_plan(trial, order, clock, str(error))

    def input_pipeline(self, order: ExampleOrder) -> EpochPipeline:
        """The pipeline of the keras loop."""
        return self._pipelines.pipeline(order)

    def finish(self) -> None:
        """Keep the program of the last plan, which was trained without incident, if it may serve again."""
        lent, self._lent = self._lent, None
        if lent is None or not lent.program.reusable:
            return
        if self._signature(lent.program.model, lent.trial) == lent.before_training:
            self._programs.keep(lent.signature, lent.program)

    def clear(self) -> None:
        """Drop all programs, for example after a trial ran out of memory."""
        self._lent = None
        self._programs.clear()

    def _plan(self, loop: Loop | None, model: keras.Model, trial: Trial, order: ExampleOrder, clock: Clock) -> FitPlan:
        """Return the plan of a loop; of the faster of those that use a program, if none is given."""
        begin, measured, loan = time.perf_counter(), dict[str, float](), _Loan(self, model, trial)
        try:
            if loop is None:
                choice = self._choose(loan, order)
                loop, measured = loop_named(choice.loop), choice.measurements
            evaluation = trial.instructions.evaluation_batch_size
            plain = functools.partial(self._pipelines.plain, model, order, evaluation, clock)
            plan = loop.plan(Workbench(trial, model, order, clock, program=loan.program, plain=plain))
        except UnsupportedModelError as error:
            loan.is_unsupported(str(error))
            raise
        if loan.lent is None:
            return plan
        traced = self._signature(loan.lent.program.model, trial)  # planning has made variables
        self._lent = replace(loan.lent, before_training=traced)
        return replace(
            plan,
            compile_seconds=time.perf_counter() - begin,
            settings={**plan.settings, "model_signature": loan.lent.signature},
            measurements=measured,
        )

    def _program(self, model: keras.Model, signature: str, trial: Trial) -> Program:
        kept = self._programs.take(signature)
        if kept is not None and kept.adopt(model):
            return kept
        return Program(model, self._placement.on_device, trial.instructions.evaluation_batch_size)

    def _choose(self, loan: _Loan, order: ExampleOrder) -> LoopChoice:
        """Return the choice of a loop, which earlier trials may have made."""
        program, trial, signature = loan.program(), loan.trial, loan.signature
        choice = self._choices.get((signature, trial.batch_size))
        updates = trial.instructions.trainings * order.updates_after(trial.budget.epochs)
        if choice is None or not choice.serves(updates):
            known = [other for other in self._choices.values() if other.signature == signature]
            try:
                choice = choose_loop(program, signature, order, updates, known)
            except CompilerTimeoutError as error:  # that program is still the compiler's
                loan.replace(self._program(self._builder.build_for(trial), signature, trial))
                choice = LoopChoice(signature, order.batch_size, DEVICE, updates, {}, {XLA: error.seconds}, str(error))
            self._choices[signature, trial.batch_size] = choice
        return choice

    def _fallback_plan(self, trial: Trial, order: ExampleOrder, clock: Clock, reason: str) -> FitPlan:
        plan = self._pipelines.fallback(
            lambda: self._builder.build_for(trial),
            order,
            trial.budget.epochs,
            trial.instructions.evaluation_batch_size,
            clock,
        )
        return replace(plan, settings={**plan.settings, "loop_reason": reason})

    def _signature(self, model: keras.Model, trial: Trial) -> str:
        return model_signature(
            model, dict(trial.hyperparameters), self._arrays, trial.instructions.evaluation_batch_size
        )


_MOST_PROGRAMS = 8
_SHARE_OF_MEMORY = 0.1


class ProgramCache:
    """The programs used last, by the signature of their model.

    Args:
        free_bytes: Memory of the device; the variables of all kept programs take at most a tenth of it, though the
            one used last is always kept.
    """

    def __init__(self, free_bytes: int) -> None:
        self._most_bytes = _SHARE_OF_MEMORY * free_bytes
        self._dropped = self._dropped_bytes = 0
        self._programs: OrderedDict[str, Program] = OrderedDict()

    def take(self, signature: str) -> Program | None:
        """The program of a signature, removed: whoever trained it without incident keeps it again."""
        return self._programs.pop(signature, None)

    def keep(self, signature: str, program: Program) -> None:
        """Keep a program, and drop those used longest ago if they are too many or too large."""
        self._programs[signature] = program
        while len(self._programs) > 1 and self._is_too_much():
            _, dropped = self._programs.popitem(last=False)
            self._dropped += 1
            self._dropped_bytes += dropped.nbytes
        if self._dropped >= _MOST_PROGRAMS or self._dropped_bytes > self._most_bytes:
            self._free()

    def clear(self) -> None:
        """Drop all programs."""
        self._programs.clear()
        self._free()

    def _free(self) -> None:
        """Give back what the dropped programs held.

        Models and their functions refer to each other in cycles, and TensorFlow keeps kernels for every shape met,
        about 1 MB for each architecture of a small model (measured), which only this clears.
        """
        keras.utils.clear_session(free_memory=True)
        self._dropped = self._dropped_bytes = 0

    def __len__(self) -> int:
        return len(self._programs)

    def _is_too_much(self) -> bool:
        total = sum(program.nbytes for program in self._programs.values())
        return len(self._programs) > _MOST_PROGRAMS or total > self._most_bytes
