"""batch-size: the command line.

Signals are heeded before anything that takes time is imported, so that Ctrl-C ends a start as it ends a search. What
loads TensorFlow is imported only by the commands that train.
"""

from __future__ import annotations

import contextlib
import gc
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tuning.interrupts import INTERRUPTED, heed_signals
from tuning.passwords import without_passwords

if TYPE_CHECKING:
    from tuning.commands.parser import Parser

NOTHING, BAD_INPUT = 1, 2

_GARBAGE = 50_000
"""Objects between two collections of garbage. At Python's own 700, what a command imports is looked at again and again,
for 0.6 of its 3.3 s of processor time (measured)."""


def program() -> NoReturn:
    """Run the command of this process's arguments, and end the process with its status."""
    warnings.formatwarning = _one_line(warnings.formatwarning)
    status = main()
    from tuning.run.python_private import leave  # only now: signals are heeded first

    leave(status)


def _one_line(usual: Callable[..., str]) -> Callable[..., str]:
    """Return how warnings are shown: our own in one line for people, others as usual, with the code they come from."""

    def show(message: Warning | str, category: type[Warning], *more: Any, **others: Any) -> str:
        is_ours = category.__module__.split(".")[0] == "tuning"
        return f"batch-size: {message}\n" if is_ours else usual(message, category, *more, **others)

    return show


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 with a recommendation or help, 1 if no trial completed, there is nothing to pick from or no device can work, 2
        for bad input or a GPU that TensorFlow does not see, 3 if `pick --expect` finds the batch size worse, 130 when
        interrupted. Ctrl-C is the way to end `ui`, which is 0.
    """
    try:
        if arguments is None:  # the program itself, not a call of it
            heed_signals()
            gc.set_threshold(_GARBAGE)
        parser = make_parser()
        asked = parser.parse_args(arguments)
        if not hasattr(asked, "run"):
            parser.print_help()
            return 0
        return int(asked.run(asked))
    except ValueError as error:
        return _refuse(error)
    except RuntimeError as error:
        return _stop(error, arguments)
    except OSError as error:
        return _give_up(error, arguments)
    except KeyboardInterrupt:
        return _interrupted(arguments)
    except Exception as error:
        return _storage_failed(error, arguments)


def _interrupted(arguments: Sequence[str] | None) -> int:
    if _words(arguments)[:1] == ["ui"]:
        return 0
    with contextlib.suppress(OSError):  # the terminal may have gone
        print(f"\nInterrupted. Nothing finished is lost; continue with: {_again(arguments)}", file=sys.stderr)
    return INTERRUPTED


def _refuse(error: ValueError) -> int:
    from tuning.stats.recommendation import NothingToRecommend

    print(f"batch-size: {without_passwords(' '.join(str(error).split()))}", file=sys.stderr)
    return NOTHING if isinstance(error, NothingToRecommend) else BAD_INPUT


def _stop(error: RuntimeError, arguments: Sequence[str] | None) -> int:
    from tuning.run.executor import DeviceError, MissingGpuError
    from tuning.study.lease import LostLeaseError

    if not isinstance(error, DeviceError | LostLeaseError):
        raise error
    told = without_passwords(" ".join(str(error).split()))
    if isinstance(error, MissingGpuError):
        print(f"batch-size: {told}", file=sys.stderr)
        return BAD_INPUT
    print(f"batch-size: {told} Nothing finished is lost; continue with: {_again(arguments)}", file=sys.stderr)
    return NOTHING


def _give_up(error: OSError, arguments: Sequence[str] | None) -> int:
    """Tell that the machine failed us, such as by a full disk."""
    from tuning.full_disk import is_full_disk, told_of_full_disk

    told, way_out = f"The machine failed: {error.strerror or error}", "mend it"
    if is_full_disk(error):
        told, way_out = told_of_full_disk(error)
    elif error.filename:
        told += f" ({error.filename})"
    told = f"batch-size: {told}. What has ended is recorded; {way_out}, and continue with: {_again(arguments)}"
    print(without_passwords(told), file=sys.stderr)
    return NOTHING


def _storage_failed(error: Exception, arguments: Sequence[str] | None) -> int:
    """Tell that the database of a study failed us, which Optuna says with an exception of its own."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    from tuning.full_disk import full_disk_error, is_full_disk

    if not isinstance(error, StorageInternalError | SQLAlchemyError):  # the latter where Optuna only reads
        raise error
    if is_full_disk(error):
        return _give_up(full_disk_error(Path.cwd()), arguments)
    why = " ".join(str(error.__cause__ or error).split())
    return _give_up(OSError(f"the study's storage does not do what it is asked ({why:.200})"), arguments)


def _again(arguments: Sequence[str] | None) -> str:
    return "batch-size " + without_passwords(shlex.join(word for word in _words(arguments) if word != "--fresh"))


def _words(arguments: Sequence[str] | None) -> list[str]:
    return list(sys.argv[1:] if arguments is None else arguments)


def make_parser() -> Parser:
    """Return the parser of all commands; it loads nothing that takes long."""
    from tuning.commands import answering, completion, probe, search, studies, study_file, train
    from tuning.commands.parser import Parser, Version

    about = "Which batch size should I train with, and why?"
    parser = Parser(prog="batch-size", description=about, example="batch-size tune digits")
    parser.add_argument("--version", action=Version, help="print the version and end")
    commands = parser.add_subparsers(metavar="COMMAND")
    for add in (
        search.add,
        probe.add,
        train.add,
        answering.add_pick,
        answering.add_report,
        studies.add,
        answering.add_ui,
        answering.add_workloads,
    ):
        add(commands)
    study_file.add(commands, parser)
    completion.add(commands, parser)
    return parser


if __name__ == "__main__":
    program()
