"""Meters of energy: an NVIDIA card behind a fake of its library, and a processor behind a folder of fake counters."""

import ast
import importlib.util
import inspect
import sys

import pytest
from asynchronous import FakeTime, GpuOnTheCpu
from energy_helpers import UUID, FakeNvml, add_domain

from tuning.loops import energy
from tuning.loops.energy import EnergyRefusal, NoMeter, NvmlMeter, RaplMeter, energy_meter_here, throttle_names


@pytest.fixture
def library():
    return FakeNvml(FakeTime())


def test_a_card_tells_joules_and_what_decides_about_its_power(library):
    meter = NvmlMeter(UUID, library)
    before = meter.joules()
    library.time.pass_by(2.0)
    assert meter.joules() - before == pytest.approx(400.0)
    told = {"power_limit_watts": 250.0, "sm_clock_mhz": 1410.0, "memory_clock_mhz": 877.0, "throttle_bits": 1.0}
    assert meter.state() == told  # the utilisation, which this card does not tell, is left out


def test_throttle_reasons_have_names_and_being_idle_is_none():
    assert throttle_names(0x1 | 0x4 | 0x40) == "power limit, heat (hardware)"
    assert throttle_names(0x1) == ""


def test_the_only_card_needs_no_name_but_one_of_two_does(library):
    assert NvmlMeter(None, library).joules() == 5000.0
    library.cards.append("GPU-5678")
    with pytest.raises(EnergyRefusal, match="does not name one of the 2 cards"):
        NvmlMeter(None, library)


@pytest.mark.parametrize(
    ("uuid", "changes", "reason"),
    [
        ("MIG-1234", {}, "a MIG slice has no energy counter of its own"),
        (UUID, {"mig": 1}, "a MIG slice has no energy counter of its own"),
        (UUID, {"is_older": True}, "this card has no energy counter; NVIDIA's have one from Volta on"),
        (UUID, {"broken": "Driver Not Loaded"}, r"could not be read \(Driver Not Loaded\)"),
        ("GPU-other", {}, r"could not be read \(Not Found\)"),
    ],
)
def test_a_card_whose_energy_cannot_be_told_is_refused(library, uuid, changes, reason):
    vars(library).update(changes)
    with pytest.raises(EnergyRefusal, match=reason):
        NvmlMeter(uuid, library)


def test_a_card_that_could_be_sliced_and_is_not_is_read(library):
    library.mig = 0
    assert NvmlMeter(UUID, library).joules() == 5000.0


def test_a_second_process_on_the_card_is_refused_while_it_is_there(library):
    meter = NvmlMeter(UUID, library)
    library.pids = [11, 12]
    with pytest.raises(EnergyRefusal, match="2 processes computed on the card"):
        meter.joules()
    library.pids = [11, 11]  # one process with two contexts
    assert meter.joules() == 5000.0


def test_a_library_that_fails_later_is_refused_then(library):
    meter = NvmlMeter(UUID, library)
    library.broken = "GPU is lost"
    with pytest.raises(EnergyRefusal, match="GPU is lost"):
        meter.joules()


def test_packages_are_added_and_their_parts_and_the_platform_are_not(tmp_path):
    add_domain(tmp_path, "intel-rapl:0", "package-0", 100_000)
    add_domain(tmp_path, "intel-rapl:1", "package-1", 0)
    add_domain(tmp_path, "intel-rapl:0:0", "core", 0)
    add_domain(tmp_path, "intel-rapl:2", "psys", 0)
    add_domain(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    meter = RaplMeter(tmp_path)
    for folder in tmp_path.iterdir():
        (folder / "energy_uj").write_text("600000\n")
    assert meter.joules() == pytest.approx(0.5 + 0.6)
    assert meter.state() == {}


def test_a_counter_that_starts_again_goes_on_counting(tmp_path):
    add_domain(tmp_path, "intel-rapl:0", "package-0", 900_000, most=1_000_000)
    meter = RaplMeter(tmp_path)
    for told, total in ((300_000, 0.4), (700_000, 0.8), (100_000, 1.2)):
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text(f"{told}\n")
        assert meter.joules() == pytest.approx(total)


def test_a_machine_without_packages_is_refused(tmp_path):
    add_domain(tmp_path, "intel-rapl:0:0", "core", 0)
    with pytest.raises(EnergyRefusal, match="no processor package in"):
        RaplMeter(tmp_path)
    with pytest.raises(EnergyRefusal, match="no processor package in"):
        RaplMeter(tmp_path / "absent")


def test_a_counter_that_only_root_may_read_is_refused(tmp_path, monkeypatch):
    add_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    own = energy.Path.read_text

    def read_text(path, *rest):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return own(path, *rest)

    monkeypatch.setattr(energy.Path, "read_text", read_text)
    with pytest.raises(EnergyRefusal, match="this user may not read the processor's energy counter"):
        RaplMeter(tmp_path)


def test_a_counter_that_vanishes_is_refused(tmp_path):
    add_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = RaplMeter(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(EnergyRefusal, match="cannot be read"):
        meter.joules()


def refusal_of(meter):
    assert isinstance(meter, NoMeter)
    with pytest.raises(EnergyRefusal) as refused:
        meter.joules()
    return str(refused.value)


def test_the_cpu_is_read_by_rapl_for_a_single_worker_alone(tmp_path):
    assert "no processor package" in refusal_of(energy_meter_here(root=tmp_path))
    add_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    assert isinstance(energy_meter_here(root=tmp_path), RaplMeter)
    assert "3 workers share the processor" in refusal_of(energy_meter_here(sharing=3, root=tmp_path))


@pytest.mark.parametrize("visible", [UUID, f"{UUID},GPU-5678"])
def test_a_gpu_is_read_by_the_uuid_that_placed_its_worker(visible, library, monkeypatch):
    library.cards.append("GPU-5678")
    monkeypatch.setattr(energy, "this_processor", GpuOnTheCpu)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    environment = {"CUDA_VISIBLE_DEVICES": visible}
    assert isinstance(energy_meter_here(sharing=3, environment=environment), NvmlMeter)
    assert "shares 2 cards" in refusal_of(energy_meter_here(cards=2, environment=environment))
    assert "does not name one" in refusal_of(energy_meter_here(environment={"CUDA_VISIBLE_DEVICES": "0"}))
    assert "MIG slice" in refusal_of(energy_meter_here(environment={"CUDA_VISIBLE_DEVICES": "MIG-1"}))


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(energy, "this_processor", GpuOnTheCpu)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "pip install 'batch-size-tuner[gpu]'" in refusal_of(energy_meter_here(environment={}))


def test_the_library_is_not_imported_where_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "pynvml" not in str(energy_meter_here(root=tmp_path))
    tree = ast.parse(inspect.getsource(energy))
    assert all(name.name != "pynvml" for node in tree.body if isinstance(node, ast.Import) for name in node.names)


@pytest.mark.skipif(importlib.util.find_spec("pynvml") is None, reason="needs nvidia-ml-py, of the extra gpu")
def test_the_library_has_every_name_that_the_meter_and_its_fake_use():
    import pynvml

    names = [node.attr for node in ast.walk(ast.parse(inspect.getsource(energy))) if isinstance(node, ast.Attribute)]
    used = {name for name in names if name.startswith(("nvml", "NVML"))}
    assert len(used) >= 10
    assert {name for name in used if not hasattr(pynvml, name)} == set()
    assert {name for name in used if not hasattr(FakeNvml, name)} == set()
