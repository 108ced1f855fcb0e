"""`batch-size probe` as people run it, with real workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tuning.cli import main


def test_digits_are_probed_in_memory_speed_and_noise(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tuning.cli", "probe", "digits", "--json", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["memory"]["largest_batch_size"] == 1437
    assert told["memory"]["limited_by"] == "data"
    assert 5 <= len(told["memory"]["probes"]) <= 7
    assert {row["series"] for row in told["throughput"]} == {"keras", "chosen"}
    assert len(told["noise_scale"]["points"]) == 4
    assert 10 < told["noise_scale"]["points"][0]["value"] < 1000
    assert told["suggested_batch_sizes"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--memory-limit", "much"), "number with a unit, such as 3GiB or 500MB; got 'much'"),
        (("--epochs", "0"), "epochs must be at least 1"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "digits", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1
