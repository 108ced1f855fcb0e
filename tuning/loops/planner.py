"""Plans how a trial is trained: which loop, with which program, on data where."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import keras

from search_spaces.data import leaves
from tuning.loops.arrays import DataPlacement, TrainingArrays
from tuning.loops.blocks import UnsupportedModelError
from tuning.loops.clock import Clock
from tuning.loops.device_loop import device_plan
from tuning.loops.fit_plan import FitPlan
from tuning.loops.keras_loop import EpochPipeline, is_distributed
from tuning.loops.loop_choice import CompilerTimeoutError, LoopChoice, choose_loop
from tuning.loops.model_builder import ModelBuilder
from tuning.loops.order import ExampleOrder
from tuning.loops.pipeline_plan import PipelinePlans
from tuning.loops.program import Program
from tuning.loops.signature import model_signature
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
