"""Where a search should look."""

from __future__ import annotations

import pytest

from tuning.machine.suggestion import centre_of_search, suggested_batch_sizes
from tuning.stats.lines import fit_throughput

LINE = fit_throughput({size: 2e-3 + 1e-5 * size for size in (8, 32, 128, 512)})  # t0/c = 200


def test_the_centre_is_the_time_optimum() -> None:
    assert centre_of_search(LINE, knee=512, noise_scale=800.0) == pytest.approx(400.0)  # sqrt(800 * 200)


def test_without_a_line_the_knee_stands_in_and_without_noise_it_is_all() -> None:
    bent = fit_throughput({8: 1e-3, 32: 5e-3, 128: 1e-3, 512: 1e-2})
    assert not bent.accepted
    assert centre_of_search(bent, knee=128, noise_scale=32.0) == pytest.approx(64.0)
    assert centre_of_search(LINE, knee=128, noise_scale=None) == 128
    assert centre_of_search(None, knee=None, noise_scale=50.0) == 50.0
    assert centre_of_search(None, knee=None, noise_scale=None) is None


@pytest.mark.parametrize(
    ("centre", "largest", "n_train", "expected"),
    [
        (100.0, 10_000, 60_000, (16, 32, 64, 128, 256, 512)),
        (1e9, 10_000, 60_000, (128, 256, 512, 1024, 2048, 4096)),
        (100.0, 48, 60_000, (1, 2, 4, 8, 16, 32)),
        (None, 10_000, 1437, (4, 8, 16, 32, 64, 128)),
        (3.0, 10_000, 60_000, (1, 2, 4, 8, 16, 32)),
        (100.0, 3, 60_000, (1, 2)),
        (100.0, 0, 60_000, ()),
    ],
)
def test_six_powers_of_two_that_fit(
    centre: float | None, largest: int, n_train: int, expected: tuple[int, ...]
) -> None:
    assert suggested_batch_sizes(centre, largest=largest, n_train=n_train) == expected
