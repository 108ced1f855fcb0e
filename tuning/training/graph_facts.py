"""What a traced graph shows about the program: its size, its kinds of operations, and the state it touches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

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
    """Args:
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
    def convolves(self) -> bool:
        """Whether it contains a convolution."""
        return any("Conv" in operation for operation in self.operations)

    def touches_only(self, variables: Iterable[Any]) -> bool:
        """Whether these Keras variables are all the state that the program reads or writes."""
        known = {id(variable.value.handle) for variable in variables}
        return not _HIDDEN_STATE & self.operations.keys() and {id(handle) for handle in self.resources} <= known

    def joined(self, other: GraphFacts) -> GraphFacts:
        """The facts about two programs that make up one training."""
        operations = self.operations if self.size >= other.size else other.operations
        hidden = dict.fromkeys(_HIDDEN_STATE & other.operations.keys(), 1)
        return GraphFacts({**operations, **hidden}, self.resources + other.resources)
