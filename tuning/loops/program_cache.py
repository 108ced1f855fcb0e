"""The programs that were trained last, kept for the trials to come."""

from __future__ import annotations

from collections import OrderedDict

import keras

from tuning.loops.program import Program

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
