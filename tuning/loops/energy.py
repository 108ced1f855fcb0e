"""Energy: counters of joules, of the card that trains or of the processor, and why there may be none to read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tuning.loops.processor import this_processor


class EnergyRefusal(RuntimeError):  # noqa: N818  (it is an answer, not a fault)
    """The energy of a training cannot be told; the message says why, as a clause in plain words."""


class EnergyMeter(Protocol):
    """A counter of energy."""

    def joules(self) -> float:
        """Return the joules consumed since some moment in the past; it never falls.

        Raises:
            EnergyRefusal: If they cannot be read, or would not be those of this process's training.
        """

    def state(self) -> Mapping[str, float]:
        """Return what decides about power at this moment, by name; what cannot be read is left out."""


class NoMeter:
    """A meter where there is nothing to read.

    Args:
        reason: Why, as a clause in plain words.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def joules(self) -> float:
        """Raise `EnergyRefusal` with the reason."""
        raise EnergyRefusal(self._reason)

    def state(self) -> Mapping[str, float]:
        """Return nothing."""
        return {}


_PER_BOARD = "a MIG slice has no energy counter of its own, since energy is counted for the whole card"


class NvmlMeter:
    """Reads the energy counter of one NVIDIA card, of Volta or later; it counts the whole board.

    More than one compute process on the card is refused, because their joules cannot be told apart. The processes are
    counted and not compared with this one, because a container's process has another number outside, where the driver
    looks. Where the driver lists none, as in some containers, another one would not be noticed.

    Args:
        uuid: The card, "GPU-...", as the CUDA driver names it; None for the only card of the machine.
        library: NVIDIA's management library: the module `pynvml`.

    Raises:
        EnergyRefusal: If the library does not start, or the card is not there, is in MIG mode or has no such counter.
    """

    def __init__(self, uuid: str | None, library: Any) -> None:
        if uuid is not None and uuid.startswith("MIG-"):
            raise EnergyRefusal(_PER_BOARD)
        self._library = library
        self._ask(library.nvmlInit)
        self._card = self._only_card() if uuid is None else self._ask(library.nvmlDeviceGetHandleByUUID, uuid)
        if self._is_sliced():
            raise EnergyRefusal(_PER_BOARD)
        self._read()

    def joules(self) -> float:
        """Return the joules of the board since its driver was loaded; the counter moves 10 to 50 times a second."""
        processes = self._ask(self._library.nvmlDeviceGetComputeRunningProcesses, self._card)
        count = len({process.pid for process in processes})
        if count > 1:
            raise EnergyRefusal(f"{count} processes computed on the card, whose energy cannot be told apart")
        return self._read()

    def state(self) -> Mapping[str, float]:
        """Return the power limit, clocks, utilisation in the last moments, and the bits of what throttles the card."""
        library, card = self._library, self._card
        questions: dict[str, Callable[[], float]] = {
            "power_limit_watts": lambda: library.nvmlDeviceGetEnforcedPowerLimit(card) / 1000,
            "sm_clock_mhz": lambda: library.nvmlDeviceGetClockInfo(card, library.NVML_CLOCK_SM),
            "memory_clock_mhz": lambda: library.nvmlDeviceGetClockInfo(card, library.NVML_CLOCK_MEM),
            "gpu_utilisation_percent": lambda: library.nvmlDeviceGetUtilizationRates(card).gpu,
            THROTTLE_BITS: lambda: library.nvmlDeviceGetCurrentClocksThrottleReasons(card),
        }
        found: dict[str, float] = {}
        for name, question in questions.items():
            with contextlib.suppress(library.NVMLError):
                found[name] = float(question())
        return found

    def _read(self) -> float:
        try:
            return float(self._library.nvmlDeviceGetTotalEnergyConsumption(self._card)) / 1000
        except self._library.NVMLError_NotSupported:
            raise EnergyRefusal("this card has no energy counter; NVIDIA's have one from Volta on") from None
        except self._library.NVMLError as error:
            raise _unreadable(error) from None

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except self._library.NVMLError as error:
            raise _unreadable(error) from None

    def _only_card(self) -> Any:
        count = self._ask(self._library.nvmlDeviceGetCount)
        if count != 1:
            raise EnergyRefusal(f"CUDA_VISIBLE_DEVICES does not name one of the {count} cards by its UUID")
        return self._ask(self._library.nvmlDeviceGetHandleByIndex, 0)

    def _is_sliced(self) -> bool:
        try:
            current, _ = self._library.nvmlDeviceGetMigMode(self._card)
        except self._library.NVMLError:  # a card that knows no slices
            return False
        return bool(current)


def _unreadable(error: Exception) -> EnergyRefusal:
    return EnergyRefusal(f"NVIDIA's management library could not be read ({error})")


THROTTLE_BITS = "throttle_bits"
_THROTTLES = {
    0x2: "clocks set by hand",
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
    0x100: "display clocks",
}


def throttle_names(bits: int) -> str:
    """Return what slowed a card down, with commas between, from NVML's bits; empty if nothing but being idle did."""
    return ", ".join(name for bit, name in _THROTTLES.items() if bits & bit)


POWERCAP = Path("/sys/class/powercap")


class RaplMeter:
    """Adds up the energy counters of the machine's processor packages (RAPL), which Linux shows for Intel and AMD.

    They count everything that runs on the machine. Parts of a package (`intel-rapl:0:0`) are in its own count and not
    added again, nor is the platform's domain. A counter starts again from 0 after `max_energy_range_uj`, within minutes
    to hours: it has to be read more often than that.

    Args:
        root: Where Linux shows power domains.

    Raises:
        EnergyRefusal: If there is no package, or this user may not read its counter.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._packages = [folder for folder in sorted(root.glob("intel-rapl:*")) if _is_package(folder)]
        if not self._packages:
            raise EnergyRefusal(f"there is no GPU, and no processor package in {root} tells its energy")
        self._ranges = {package: _microjoules(package / "max_energy_range_uj") for package in self._packages}
        self._last = {package: _microjoules(package / "energy_uj") for package in self._packages}
        self._total = 0

    def joules(self) -> float:
        """Return the joules of all packages since this meter was made."""
        for package in self._packages:
            told = _microjoules(package / "energy_uj")
            grown = told - self._last[package]
            self._total += grown if grown >= 0 else grown + self._ranges[package]
            self._last[package] = told
        return self._total / 1e6

    def state(self) -> Mapping[str, float]:
        """Return nothing: RAPL tells energy alone."""
        return {}


def _is_package(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return (folder / "name").read_text().startswith("package")
    return False


def _microjoules(path: Path) -> int:
    try:
        return int(path.read_text())
    except PermissionError:
        raise EnergyRefusal(f"this user may not read the processor's energy counter ({path})") from None
    except (OSError, ValueError):
        raise EnergyRefusal(f"the processor's energy counter cannot be read ({path})") from None


def energy_meter_here(
    *, sharing: int = 1, cards: int = 1, environment: Mapping[str, str] = os.environ, root: Path = POWERCAP
) -> EnergyMeter:
    """Return the meter of the device on which this process trains; a `NoMeter` that says why where there is none.

    Args:
        sharing: The number of workers that share this machine's CPU, whose counters tell their sum alone.
        cards: How many cards share a training.
        environment: This process's variables; `CUDA_VISIBLE_DEVICES` names the card.
        root: Where Linux shows power domains.
    """
    try:
        if this_processor().is_gpu:
            if cards > 1:
                raise EnergyRefusal(f"a training shares {cards} cards, and the energy of one alone is read")
            return NvmlMeter(_card_of(environment), _nvml())
        if sharing > 1:
            raise EnergyRefusal(f"{sharing} workers share the processor, which counts their sum; use one (--workers 1)")
        return RaplMeter(root)
    except EnergyRefusal as refusal:
        return NoMeter(str(refusal))


def _card_of(environment: Mapping[str, str]) -> str | None:
    """Return the UUID of the first visible card; None where it is not named by one."""
    first = environment.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    return first if first.startswith(("GPU-", "MIG-")) else None


def _nvml() -> Any:
    try:
        import pynvml
    except ImportError:
        raise EnergyRefusal("nvidia-ml-py is not installed (pip install 'batch-size-tuner[gpu]')") from None
    return pynvml
