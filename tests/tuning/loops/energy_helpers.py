"""A card, its management library and a power-capping folder, as small fakes on a fake clock."""

# ruff: noqa: N801, N802, N818  (the names of the library)

import itertools
from types import SimpleNamespace

UUID = "GPU-1234"


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):
    pass


class FakeNvml:
    """One card of constant power, whose counter moves every 20 ms of a fake time.

    Args:
        time: The fake time.
        watts: Its power.
    """

    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2
    NVMLError, NVMLError_NotSupported = NVMLError, NVMLError_NotSupported

    def __init__(self, time, watts=200.0):
        self.time, self.watts = time, watts
        self.pids, self.mig, self.cards = [11], None, [UUID]
        self.is_older, self.stands_still, self.broken = False, False, ""
        self.bits, self.reads = itertools.repeat(0x1), 0

    def nvmlInit(self):
        if self.broken:
            raise NVMLError(self.broken)

    def nvmlDeviceGetCount(self):
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.cards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid not in self.cards:
            raise NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetMigMode(self, card):
        if self.mig is None:
            raise NVMLError_NotSupported("Not Supported")
        return [self.mig, self.mig]

    def nvmlDeviceGetComputeRunningProcesses(self, card):
        return [SimpleNamespace(pid=pid) for pid in self.pids]

    def nvmlDeviceGetTotalEnergyConsumption(self, card):
        self.reads += 1
        if self.is_older:
            raise NVMLError_NotSupported("Not Supported")
        if self.broken:
            raise NVMLError(self.broken)
        ticks = 0 if self.stands_still else int(self.time.now / 0.02 + 1e-6)
        return 5_000_000 + round(ticks * 0.02 * self.watts * 1000)

    def nvmlDeviceGetEnforcedPowerLimit(self, card):
        return 250_000

    def nvmlDeviceGetClockInfo(self, card, kind):
        return {1: 1410, 2: 877}[kind]

    def nvmlDeviceGetUtilizationRates(self, card):
        raise NVMLError_NotSupported("Not Supported")

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, card):
        return next(self.bits)


def add_domain(root, folder, name, microjoules, most=1_000_000):
    """Add a power domain as Linux shows it."""
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    for file, value in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", most)):
        (place / file).write_text(f"{value}\n")
