"""What is said of a Ray cluster before any is reached, and that local use never loads Ray."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tuning.cli import main
from tuning.run.ray_actor import PACKAGES, versions
from tuning.run.ray_cluster import Cluster, Demand, differing_versions

HERE = {"node": "driver", "python": "3.11", "batch-size-tuner": "0.2.0", "tensorflow": "2.21.0", "keras": "3.15.1"}


@pytest.mark.parametrize(
    ("demand", "resources", "places"),
    [
        (Demand(), {"CPU": 4.0}, 4),
        (Demand(cpus=3), {"CPU": 8.0}, 2),
        (Demand(), {}, 0),
        (Demand(gpus=1), {"CPU": 4.0}, 0),
        (Demand(gpus=1), {"CPU": 16.0, "GPU": 2.0}, 2),
        (Demand(cpus=8, gpus=1), {"CPU": 8.0, "GPU": 2.0}, 1),
        (Demand(gpus=2), {"CPU": 16.0, "GPU": 5.0}, 2),
    ],
)
def test_a_node_has_room_for_whole_devices(demand: Demand, resources: dict[str, float], places: int) -> None:
    assert demand.places(resources) == places


def test_a_demand_is_told_in_words() -> None:
    assert str(Demand(1)) == "1 CPU"
    assert str(Demand(4, 1)) == "4 CPUs and 1 GPU"
    assert str(Demand(4, 2)) == "4 CPUs and 2 GPUs"


@pytest.mark.parametrize(("cpus", "gpus"), [(0, 0), (1, -1)])
def test_a_demand_out_of_range_is_refused(cpus: int, gpus: int) -> None:
    with pytest.raises(ValueError, match=r"per_trial must be .*; got"):
        Demand(cpus, gpus)


def test_equal_versions_are_no_difference_whatever_the_node_is_called() -> None:
    assert differing_versions(HERE, {**HERE, "node": "far"}) == ""


def test_another_version_and_a_missing_package_are_told_in_one_line() -> None:
    told = differing_versions(HERE, {**HERE, "node": "far", "keras": "3.14.0", "batch-size-tuner": ""})
    assert told == (
        "A node must have the versions of the driver; far has batch-size-tuner is missing (here 0.2.0), "
        "keras 3.14.0 (here 3.15.1). Install the same there, such as by the same container image."
    )


def test_the_versions_of_this_process_are_found() -> None:
    found = versions()
    assert set(found) == {"node", "python", *PACKAGES}
    assert found["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert all(found[name] for name in ("batch-size-tuner", "tensorflow", "keras"))


def test_ray_client_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"got 'ray://head:10001'. Run this command in the cluster"):
        Cluster("ray://head:10001")


def test_without_ray_the_extra_is_named_and_nothing_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else find(name, *rest))
    monkeypatch.chdir(tmp_path)
    assert main(["grid", "digits", "--engine", "ray"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "pip install 'batch-size-tuner[ray]'" in told
    assert not list(tmp_path.iterdir())


def test_options_of_ray_without_ray_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grid", "digits", "--cpus-per-trial", "2"]) == 2
    assert "cpus_per_trial is about the engine ray; got 2" in capsys.readouterr().err
    assert main(["grid", "digits", "--engine", "ray", "--threads", "2"]) == 2
    assert "Give cpus_per_trial (--cpus-per-trial) instead" in capsys.readouterr().err


def test_local_use_never_loads_ray() -> None:
    code = (
        "import sys, tuning, tuning.cli, tuning.search.search, tuning.search.preparation, tuning.commands.search; "
        "print([name for name in sys.modules if name == 'ray' or name.startswith(('ray.', 'tuning.run.ray'))])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
