"""A model with its compiled programs, trained anew for one trial after another; and those that a worker keeps."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from search_spaces.data import Arrays
from tuning.loops.arrays import ResidentData
from tuning.loops.blocks import EvaluationBlock, TracedStep, TrainBlock
from tuning.loops.processor import Processor


class Program:
    """One model, and the programs compiled for it: a training block per batch size and loop, and the validation.

    Trials that differ only in the seed, the learning rate or the batch size run the same programs: a fresh model is
    built under the trial's seed, which is cheap, and the values of its variables are copied over. That is exact only
    if a program touches no state but the variables of the model, its optimizer and its metrics; `reusable` tells
    whether the traced graphs prove that.

    Args:
        model: Compiled model, built or not; it is trained in place.
        data: What it trains on.
        evaluation_batch_size: Examples per validation step.
    """

    def __init__(self, model: keras.Model, data: ResidentData, evaluation_batch_size: int) -> None:
        self.model = model
        self.compile_seconds: dict[tuple[int, bool], float] = {}
        self._data = data
        self._evaluation_batch_size = evaluation_batch_size
        self._steps: dict[tuple[int, bool], TracedStep] = {}
        self._blocks: dict[tuple[int, bool], TrainBlock] = {}
        self._compiled: set[tuple[int, bool]] = set()
        self._evaluation: EvaluationBlock | None = None
        self._fresh_metrics: dict[int, tuple[Any, tf.Tensor]] = {}
        self._facts: GraphFacts | None = None

    @property
    def evaluation(self) -> EvaluationBlock:
        """The pass over the validation set; traced on first use."""
        if self._evaluation is None:
            data, model = self._data, self.model
            self._evaluation = EvaluationBlock(
                model.test_step, data.validation, data.n_val, self._evaluation_batch_size, jit_compile=model.jit_compile
            )
            self._learn(self._evaluation.concrete)
        return self._evaluation

    def block(self, batch_size: int, length: int, *, jit_compile: bool) -> TrainBlock:
        """Return the training block of a batch size, traced on first use but perhaps not yet compiled."""
        key = (batch_size, jit_compile)
        if key not in self._blocks:
            begin = time.perf_counter()
            step = self._step(batch_size, jit_compile=not jit_compile and self.model.jit_compile)
            self._blocks[key] = TrainBlock(
                step, batch_size, length, jit_compile=jit_compile, processor=self._data.processor
            )
            self.compile_seconds[key] = time.perf_counter() - begin
            self._learn(self._blocks[key].concrete)
        return self._blocks[key]

    def compiled_block(self, batch_size: int, length: int, *, jit_compile: bool) -> TrainBlock:
        """Return the training block of a batch size, compiled as far as `is_compiled` tells; see `compile_seconds`."""
        key = (batch_size, jit_compile)
        block = self.block(batch_size, length, jit_compile=jit_compile)
        if key not in self._compiled:
            begin = time.perf_counter()
            snapshot = self.snapshot() if self._data.processor.is_gpu and self.reusable else None
            if block.compile(may_train=snapshot is not None):
                self._compiled.add(key)
            self.restore(snapshot or ())
            self.compile_seconds[key] += time.perf_counter() - begin
        return block

    def is_compiled(self, batch_size: int, *, jit_compile: bool) -> bool:
        """Whether the first update of a training compiles nothing any more."""
        return (batch_size, jit_compile) in self._compiled

    @property
    def processor(self) -> Processor:
        """Where it runs."""
        return self._data.processor

    def forget_block(self, batch_size: int, *, jit_compile: bool) -> None:
        """Free a block that lost the choice."""
        self._blocks.pop((batch_size, jit_compile), None)
        self._compiled.discard((batch_size, jit_compile))

    @property
    def facts(self) -> GraphFacts:
        """What the traced graphs show; needs one traced block."""
        if self._facts is None:
            raise RuntimeError("A program must be traced before its graph is read; got none traced. Call block first.")
        return self._facts

    @property
    def reusable(self) -> bool:
        """Whether copying a fresh model's variables makes the compiled programs equal to freshly compiled ones."""
        return self._facts is not None and self._facts.touches_only(self._variables())

    @property
    def nbytes(self) -> int:
        """Bytes of its variables."""
        return sum(variable.value.dtype.size * variable.value.shape.num_elements() for variable in self._variables())

    def snapshot(self) -> list[tuple[Any, tf.Tensor]]:
        """Return the present value of every variable, to be given to `restore`; in the host's memory, not on a card."""
        with tf.device("CPU:0"):
            return [(variable, tf.identity(variable.value)) for variable in self._variables()]

    def restore(self, snapshot: Iterable[tuple[Any, tf.Tensor]]) -> None:
        """Set every variable back to its value in the snapshot."""
        for variable, value in snapshot:
            variable.value.assign(value)

    def adopt(self, fresh: keras.Model) -> bool:
        """Take over the initial state of a freshly built model of the same signature.

        Returns:
            False, with nothing changed, if the two do not correspond variable by variable.
        """
        if not build_variables(fresh, self._data.train):
            return False
        pairs = _paired(self.model.variables, fresh.variables)
        optimizers = _paired(self.model.optimizer.variables, fresh.optimizer.variables)
        if pairs is None or optimizers is None:
            return False
        for mine, theirs in [*pairs, *optimizers]:
            mine.value.assign(theirs.value)
        self.restore(self._fresh_metrics.values())
        return True

    def _step(self, batch_size: int, *, jit_compile: bool) -> TracedStep:
        key = (batch_size, jit_compile)
        if key not in self._steps:
            self._steps[key] = TracedStep(self.model.train_step, self._data.train, batch_size, jit_compile=jit_compile)
        return self._steps[key]

    def _learn(self, concrete: Any) -> None:
        for variable in self.model.metrics_variables:
            self._fresh_metrics.setdefault(id(variable), (variable, tf.identity(variable.value)))
        facts = GraphFacts.of(concrete)
        self._facts = facts if self._facts is None else self._facts.joined(facts)

    def _variables(self) -> list[Any]:
        model = self.model
        every = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
        return list({id(variable): variable for variable in every}.values())


def build_variables(fresh: keras.Model, train: tuple[Arrays, ...]) -> bool:
    """Create the variables of a model and its optimizer, without training. False if Keras cannot without data."""
    try:
        if not fresh.built:
            fresh(
                keras.tree.map_structure(
                    lambda leaf: keras.KerasTensor((1, *leaf.shape[1:]), leaf.dtype.name), train[0]
                )
            )
        if not fresh.optimizer.built:
            fresh.optimizer.build(fresh.trainable_variables)
    except Exception:  # a model that insists on true data: its program is compiled anew
        return False
    return True


def _paired(mine: Sequence[Any], theirs: Sequence[Any]) -> list[tuple[Any, Any]] | None:
    if [(v.shape, v.dtype) for v in mine] != [(v.shape, v.dtype) for v in theirs]:
        return None
    return list(zip(mine, theirs, strict=True))


# Operations with state of their own: random generators that draw from the kernel's seed, and calls into Python.
_HIDDEN_STATE = frozenset(
    {
        "RandomUniform",
        "RandomUniformInt",
        "RandomStandardNormal",
        "TruncatedNormal",
        "ParameterizedTruncatedNormal",
        "RandomShuffle",
        "RandomGamma",
        "RandomPoissonV2",
        "Multinomial",
        "PyFunc",
        "EagerPyFunc",
    }
)


@dataclass(frozen=True)
class GraphFacts:
    """What a traced graph shows of a program.

    Args:
        operations: How often each operation occurs, in the graph and all functions that it calls.
        resources: The handles of the variables and tables that it touches.
    """

    operations: Mapping[str, int]
    resources: tuple[tf.Tensor, ...]

    @classmethod
    def of(cls, concrete: Any) -> GraphFacts:
        """Read them off a concrete function."""
        graph = concrete.graph.as_graph_def()
        nodes = [graph.node, *(function.node_def for function in graph.library.function)]
        operations = Counter(node.op for part in nodes for node in part)
        resources = tuple(outer for outer, _ in concrete.graph.captures if outer.dtype == tf.resource)
        return cls(operations, resources)

    @property
    def size(self) -> int:
        """Number of operations."""
        return sum(self.operations.values())

    @property
    def uses_cudnn_recurrences(self) -> bool:
        """Whether it contains a recurrence of cuDNN's, which only a GPU has and XLA cannot compile."""
        return any("CudnnRNN" in operation for operation in self.operations)

    @property
    def convolves(self) -> bool:
        """Whether it contains a convolution."""
        return any("Conv" in operation for operation in self.operations)

    def touches_only(self, variables: Iterable[Any]) -> bool:
        """Return whether these Keras variables are all the state that the program reads or writes."""
        known = {id(variable.value.handle) for variable in variables}
        return not _HIDDEN_STATE & self.operations.keys() and {id(handle) for handle in self.resources} <= known

    def joined(self, other: GraphFacts) -> GraphFacts:
        """Return the facts about two programs that make up one training."""
        operations = self.operations if self.size >= other.size else other.operations
        hidden = dict.fromkeys(_HIDDEN_STATE & (self.operations.keys() | other.operations.keys()), 1)
        return GraphFacts({**operations, **hidden}, self.resources + other.resources)


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
        """Return the program of a signature, removed: whoever trained it without incident keeps it again."""
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
