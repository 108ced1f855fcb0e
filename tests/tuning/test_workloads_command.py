"""What `batch-size workloads` tells is what `load_workload` gives."""

from __future__ import annotations

import pytest

from search_spaces import BatchSize, load_workload
from search_spaces.workload import BUILT_IN
from tuning.cli import main


def test_the_table_names_every_workload_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["workloads"]) == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert "…" not in told
    rows = [line.split() for line in told.splitlines()]
    assert all(any(name in row[:1] for row in rows) for name in BUILT_IN)
    assert f"{load_workload('tabular').epochs} epochs" in told


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {"mnist"}))  # mnist's data are downloaded
def test_what_is_told_is_what_is_loaded(name: str) -> None:
    workload = load_workload(name)
    assert workload.description is not None
    data = workload.load_data()
    assert f"{data.n_train:,} + {data.n_val:,}" in workload.description.data
    sizes = (workload.batch_size or BatchSize()).within(data.n_train).values()
    assert workload.description.space.startswith(f"batch {sizes[0]} to {sizes[-1]}")
    assert ("by 4" in workload.description.space) == (sizes[1] == 4 * sizes[0])
