"""Free memory: what the machine, its containers and the limits of the process leave."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from napari_unet.errors import FileProblemError
from napari_unet.io import limits
from napari_unet.io.limits import check_fits_memory, free_memory

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.fault(53)

V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def machine(root: Path, line: str) -> Path:
    """Write which control group a process is in, on a machine whose files lie below a folder."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(f"9:cpu:/elsewhere\n{line}\n")
    return root / "sys" / "fs" / "cgroup"


def group(folder: Path, limit: str, used: int, unused: int, names: tuple[str, ...] = V2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 17\n{names[2]} {unused}\nactive_file 3\n")


def test_what_a_container_leaves_is_free(tmp_path: Path) -> None:
    group(machine(tmp_path, "0::/"), limit="9000000", used=6000000, unused=1000000)
    assert free_memory(tmp_path) == 4000000


def test_the_tightest_of_groups_in_groups_counts(tmp_path: Path) -> None:
    outermost = machine(tmp_path, "0::/batch/job/step")
    group(outermost / "batch" / "job" / "step", "max", used=2000000, unused=0)
    group(outermost / "batch" / "job", "5000000", used=2000000, unused=0)
    group(outermost / "batch", "8000000", used=2000000, unused=0)
    assert free_memory(tmp_path) == 3000000


def test_a_container_of_version_1_counts_whose_path_is_that_of_its_host(tmp_path: Path) -> None:
    own = machine(tmp_path, "4:cpuacct,memory:/docker/0123abc") / "memory"
    group(own, "9000000", used=6000000, unused=500000, names=V1)
    assert free_memory(tmp_path) == 3500000


def test_what_is_over_its_limit_has_nothing_free(tmp_path: Path) -> None:
    group(machine(tmp_path, "0::/"), limit="1000", used=6000000, unused=0)
    assert free_memory(tmp_path) == 0


def test_without_limits_the_machine_counts(tmp_path: Path) -> None:
    group(machine(tmp_path, "0::/"), limit="max", used=6000000, unused=0)
    assert abs(free_memory(tmp_path) - psutil.virtual_memory().available) < 2**31


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count otherwise")
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_the_limit_of_the_process_counts(limit: str) -> None:
    program = (
        "import psutil, resource\n"
        "from napari_unet.io.limits import free_memory\n"
        "held = psutil.Process().memory_info()\n"
        f"taken = held.vms if {limit!r} == 'RLIMIT_AS' else held.data\n"
        f"resource.setrlimit(resource.{limit}, (taken + 100_000_000, -1))\n"
        "print(free_memory())\n"
    )
    free = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert 80_000_000 < int(free.stdout) < 120_000_000


def test_what_does_not_fit_is_refused_in_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "free_memory", lambda: 900_000_000)
    with pytest.raises(FileProblemError, match=r"hold 2000 MB of pixels, 900 MB are free"):
        check_fits_memory(tmp_path / "a.tif", (1000, 1000, 1000), "uint16")
