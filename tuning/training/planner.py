"""Plans how a trial is trained: which loop, with which program, on data where."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import keras

from search_spaces.data import leaves
from tuning.training.arrays import TrainingArrays
from tuning.training.blocks import UnsupportedModelError
from tuning.training.clock import Clock
from tuning.training.device_loop import device_plan
from tuning.training.fit_plan import FitPlan
from tuning.training.input_pipeline import EpochPipeline
from tuning.training.keras_loop import is_distributed
from tuning.training.loop_choice import LoopChoice
from tuning.training.loop_chooser import CompilerTimeoutError, choose_loop
from tuning.training.model_builder import ModelBuilder
from tuning.training.order import ExampleOrder
from tuning.training.pipeline_plan import PipelinePlans
from tuning.training.placement import DataPlacement
from tuning.training.program import Program
from tuning.training.program_cache import ProgramCache
from tuning.training.signature import model_signature
from tuning.trial import TrialRequest

LOOPS = ("auto", "keras", "device", "xla")


@dataclass(frozen=True)
class _Lent:
    """A program in use, the signature it was asked for by, and that of its model just before the training."""

    program: Program
    signature: str
    before_training: str
    request: TrialRequest


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

    @property
    def loop_choices(self) -> tuple[LoopChoice, ...]:
        """Every choice made or learnt so far."""
        return tuple(self._choices.values())

    def learn(self, choices: Iterable[LoopChoice]) -> None:
        """Take over choices that another worker made."""
        self._choices.update({(choice.signature, choice.batch_size): choice for choice in choices})

    def plan(self, request: TrialRequest, order: ExampleOrder, clock: Clock) -> FitPlan:
        """The model of a trial in its initial state, and how to train it.

        Args:
            request: The trial.
            order: Its examples.
            clock: Told every execution of the train function.

        Raises:
            ValueError: If the loop is unknown, or the one asked for cannot train this model.
        """
        if request.loop not in LOOPS:
            raise ValueError(f"loop must be one of {', '.join(LOOPS)}; got {request.loop!r}.")
        model = self._builder.build_for(request)
        if request.loop == "keras":
            return self._pipelines.plain(model, order, request.evaluation_batch_size, clock)
        try:
            self._check_supported(model, request.loop)
            return self._device_plan(model, request, order, clock)
        except UnsupportedModelError as error:
            if request.loop != "auto":
                raise ValueError(
                    f"The {request.loop} loop cannot train this: {error}. Use the keras loop, or auto."
                ) from error
            return self._fallback_plan(request, order, clock, str(error))

    def input_pipeline(self, order: ExampleOrder) -> EpochPipeline:
        """The pipeline of the keras loop."""
        return self._pipelines.pipeline(order)

    def finish(self) -> None:
        """Keep the program of the last plan, which was trained without incident, if it may serve again."""
        lent, self._lent = self._lent, None
        if lent is None or not lent.program.reusable:
            return
        if self._signature(lent.program.model, lent.request) == lent.before_training:
            self._programs.keep(lent.signature, lent.program)

    def clear(self) -> None:
        """Drop all programs, for example after a trial ran out of memory."""
        self._lent = None
        self._programs.clear()

    def _check_supported(self, model: keras.Model, loop: str) -> None:
        if model.run_eagerly:
            raise UnsupportedModelError("it is compiled with run_eagerly=True")
        if is_distributed(model):
            raise UnsupportedModelError("it trains under a tf.distribute strategy")
        for name in ("make_train_function", "make_test_function"):
            if getattr(type(model), name) is not getattr(keras.Model, name):
                raise UnsupportedModelError(f"it overrides {name}")
        texts = any(leaf.dtype.kind in "SUO" for leaf in leaves((self._arrays.train, self._arrays.validation)))
        if texts and (loop == "xla" or not self._placement.on_cpu):
            raise UnsupportedModelError("text can be given neither to XLA nor to a GPU")
        if not self._placement.fits_on_device:
            raise UnsupportedModelError(f"{self._arrays.nbytes} bytes of data are too many beside a model")

    def _device_plan(self, model: keras.Model, request: TrialRequest, order: ExampleOrder, clock: Clock) -> FitPlan:
        begin = time.perf_counter()
        signature = self._signature(model, request)
        if signature in self._unsupported:
            raise UnsupportedModelError(self._unsupported[signature])
        program = self._program(model, signature, request)
        try:
            program, loop, measured = self._loop(program, signature, request, order)
            plan = device_plan(program, order, clock, jit_compile=loop == "xla")
        except UnsupportedModelError as error:
            self._unsupported[signature] = str(error)
            raise
        self._lent = _Lent(program, signature, self._signature(program.model, request), request)
        return replace(
            plan,
            compile_seconds=time.perf_counter() - begin,
            settings={**plan.settings, "model_signature": signature},
            measurements=measured,
        )

    def _program(self, model: keras.Model, signature: str, request: TrialRequest) -> Program:
        kept = self._programs.take(signature)
        if kept is not None and kept.adopt(model):
            return kept
        return Program(model, self._placement.on_device, request.evaluation_batch_size)

    def _loop(
        self, program: Program, signature: str, request: TrialRequest, order: ExampleOrder
    ) -> tuple[Program, str, dict[str, float]]:
        """The program to train with, the loop, and what choosing it measured."""
        if request.loop != "auto":
            return program, request.loop, {}
        choice = self._choices.get((signature, request.batch_size))
        updates = request.trainings * order.updates_after(request.epochs)
        if choice is None or not choice.serves(updates):
            known = [other for other in self.loop_choices if other.signature == signature]
            try:
                choice = choose_loop(program, signature, order, updates, known)
            except CompilerTimeoutError as error:  # that program is still the compiler's
                program = self._program(self._builder.build_for(request), signature, request)
                choice = LoopChoice(
                    signature, order.batch_size, "device", updates, {}, {"xla": error.seconds}, str(error)
                )
            self._choices[signature, request.batch_size] = choice
        return program, choice.loop, choice.measurements

    def _fallback_plan(self, request: TrialRequest, order: ExampleOrder, clock: Clock, reason: str) -> FitPlan:
        plan = self._pipelines.fallback(
            lambda: self._builder.build_for(request), order, request.epochs, request.evaluation_batch_size, clock
        )
        return replace(plan, settings={**plan.settings, "loop_reason": reason})

    def _signature(self, model: keras.Model, request: TrialRequest) -> str:
        return model_signature(model, request.hyperparameters, self._arrays, request.evaluation_batch_size)
