from __future__ import annotations

import json

import pytest

from tuning.machine.threads import ThreadChoice

SIZES = (4, 16, 64, 256, 1024, 4096)


def with_one(choice: ThreadChoice) -> list[int]:
    return [size for size in SIZES if choice.threads(size) == 1]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({}, []),  # nothing was measured
        ({4: (1.0, 0.8)}, []),  # all are faster
        ({4: (1.0, 1.1)}, []),  # a tie: less than a tenth is saved
        ({4: (1.0, 1.2)}, [4]),  # what nobody measured goes to all
        ({4: (1.0, 2.0), 64: (3.0, 3.0)}, [4, 16]),  # 0.8 saved at 4, -0.3 at 64: the gain ends at 48
        ({4: (1.0, 2.0), 64: (6.0, 3.0)}, [4]),  # -3.3 at 64: it ends at 15.7
        ({4: (1.0, 2.0), 64: (3.0, 4.0)}, [4, 16, 64]),
        ({4: (1.0, 2.0), 64: (3.0, 4.0), 4096: (120.0, 100.0)}, [4, 16, 64]),  # 0.6 at 64, -30 at 4096: it ends at 143
        ({4: (1.0, 2.0), 64: (3.0, 4.0), 4096: (80.0, 100.0)}, list(SIZES)),
        ({4: (1.0, 1.0), 64: (1.0, 2.0)}, []),  # never one for larger sizes only
    ],
)
def test_one_thread_trains_the_sizes_up_to_where_its_gain_ends(
    seconds: dict[int, tuple[float, float]], expected: list[int]
) -> None:
    assert with_one(ThreadChoice(seconds)) == expected


def test_a_choice_survives_the_study_s_storage_and_names_what_it_measured() -> None:
    choice = ThreadChoice({4: (1.0, 2.0), 64: (3.0, 4.0)})
    assert ThreadChoice.from_record(json.loads(json.dumps(choice.to_record()))) == choice
    assert choice.measurement.series == (
        ("seconds_per_update_one_thread", 1.0, 4),
        ("examples_per_second_one_thread", 4.0, 4),
        ("seconds_per_update_all_threads", 2.0, 4),
        ("examples_per_second_all_threads", 2.0, 4),
        ("seconds_per_update_one_thread", 3.0, 64),
        ("examples_per_second_one_thread", 64 / 3.0, 64),
        ("seconds_per_update_all_threads", 4.0, 64),
        ("examples_per_second_all_threads", 16.0, 64),
    )
