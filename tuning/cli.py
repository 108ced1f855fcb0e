"""batch-size: the command line. What loads TensorFlow is imported only by the commands that train."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from tuning.commands import answering, probe, search
from tuning.commands.options import BAD_INPUT, Parser
from tuning.passwords import without_passwords

NOTHING, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 with a recommendation, 1 if no trial completed, there is nothing to pick from or no device can work, 2 for bad
        input or a GPU that TensorFlow does not see, 130 when interrupted.
    """
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(asked.run(asked))
    except ValueError as error:
        return _refuse(error)
    except RuntimeError as error:
        return _stop(error, arguments)
    except OSError as error:
        return _give_up(error, arguments)
    except KeyboardInterrupt:
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
    where = f" ({error.filename})" if error.filename else ""
    told = without_passwords(f"{error.strerror or error}{where}")
    print(f"batch-size: The machine failed: {told}. What has ended is recorded; mend it, and", file=sys.stderr, end=" ")
    print(f"continue with: {_again(arguments)}", file=sys.stderr)
    return NOTHING


def _again(arguments: Sequence[str] | None) -> str:
    words = list(sys.argv[1:] if arguments is None else arguments)
    return "batch-size " + without_passwords(" ".join(word for word in words if word != "--fresh"))


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> Parser:
    parser = Parser(prog="batch-size", description="Which batch size should I train with, and why?")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (
        search.add,
        probe.add,
        answering.add_pick,
        answering.add_report,
        answering.add_ui,
        answering.add_workloads,
    ):
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
