"""The programs that a worker keeps between trials."""

from __future__ import annotations

import gc
from collections import OrderedDict

from tuning.training.program import Program

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
        self._programs: OrderedDict[str, Program] = OrderedDict()

    def take(self, signature: str) -> Program | None:
        """The program of a signature, removed: whoever trained it without incident keeps it again."""
        return self._programs.pop(signature, None)

    def keep(self, signature: str, program: Program) -> None:
        """Keep a program, and drop those used longest ago if they are too many or too large."""
        self._programs[signature] = program
        dropped = False
        while len(self._programs) > 1 and self._is_too_much():
            self._programs.popitem(last=False)
            dropped = True
        if dropped:
            gc.collect()  # models and their functions refer to each other in cycles

    def clear(self) -> None:
        """Drop all programs."""
        self._programs.clear()
        gc.collect()

    def __len__(self) -> int:
        return len(self._programs)

    def _is_too_much(self) -> bool:
        total = sum(program.nbytes for program in self._programs.values())
        return len(self._programs) > _MOST_PROGRAMS or total > self._most_bytes
