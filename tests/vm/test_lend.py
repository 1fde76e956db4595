# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that is lent to the kernel and taken back, as the module alone handles it. The test acts as the daemon."""

import errno
import mmap
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import silent_fs
from device import PAGE, Device
from dmemfs_ioctl import CONSTANTS
from helpers.backends import GIB, MIB
from helpers.expect import fails_with
from helpers.host_memory import meminfo
from helpers.mount import wait_until
from holder import pinned, wait_unpinned
from lending import BLOCK, KSM, Load, blocks, bring_online, build_load, free_memory, settings_for, states, swap, vmstat, wait_merged
from test_module import iomem_of_dmemfs, unload, unloaded
from test_unmapped import loaded_tables

OFFLINE, ONLINE, TAKING = (CONSTANTS[f"LEND_{name}"] for name in ("OFFLINE", "ONLINE", "TAKING"))
POLICY = Path("/sys/devices/system/memory/auto_online_blocks")
ORDERS = pytest.mark.parametrize("order", [0, 9, 18], ids=["raw", "pages=2M", "pages=1G"])
WAIT = 60


@pytest.fixture(autouse=True)
def by_hand():
    """Nothing brings memory online but the test."""
    before = POLICY.read_text().strip()
    POLICY.write_text("offline")
    yield
    POLICY.write_text(before)


@pytest.fixture(autouse=True)
def accounts():
    """The host has as much memory afterwards as before, and the kernel has killed nobody."""
    before = meminfo("MemTotal"), vmstat("oom_kill")
    yield
    assert (meminfo("MemTotal"), vmstat("oom_kill")) == before


@pytest.fixture
def unit(region):
    return region.start


@pytest.fixture
def lent(device, unit):
    """Start of a unit that is lent and online."""
    device.lend(unit)
    bring_online(unit, GIB)
    return unit


@pytest.fixture(scope="module")
def load_program(tmp_path_factory):
    return build_load(tmp_path_factory.mktemp("lend"))


@pytest.fixture(scope="module")
def tables():
    with loaded_tables() as tables:
        yield tables


@pytest.fixture
def load(load_program, unit):
    """load(kind, mib, *files): a process that uses memory, most of it in the unit."""
    loads = []

    def start(kind, mib, *files):
        loads.append(Load(load_program, kind, mib, unit, GIB, *files))
        return loads[-1]

    yield start
    for started in loads:
        started.end()


def state(device):
    return [(found.start, found.length, found.state) for found in device.lent()]


def result(call, *arguments):
    """0 or the error of the call."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def take(device, unit, name):
    """Takes it and says how long it took. Returns 0 or the error."""
    begun = time.monotonic()
    error = result(device.take, unit)
    print(f"take {name}: {errno.errorcode.get(error, 'ok')} in {time.monotonic() - begun:.2f} s")
    with open("/dev/kmsg", "w", encoding="utf-8") as kmsg:
        kmsg.write(f"<6>take {name}: {errno.errorcode.get(error, 'ok')} in {time.monotonic() - begun:.2f} s\n")
    return error


def check_ours(device, unit, order=0):
    """The unit is as any memory of the module again."""
    assert not list(device.lent())
    fd = device.create(7, unit, GIB, order)
    assert os.pwrite(fd, b"mine", GIB - 4) == 4 and os.pread(fd, 5, GIB - 5) == b"\0mine"
    os.close(fd)
    device.call("OBJECT_DROP", id=7)
    device.call("OBJECT_REAP", id=7)


def test_hello(device):
    assert device.hello.features & CONSTANTS["FEATURE_LEND"]
    assert device.hello.lend_unit == max(GIB, BLOCK)


@ORDERS
def test_lend_and_take(device, unit, order):
    total = meminfo("MemTotal")
    for _ in range(2):
        device.lend(unit)
        assert state(device) == [(unit, GIB, OFFLINE)]
        assert states(unit, GIB) == ["offline"] * (GIB // BLOCK) and meminfo("MemTotal") == total
        bring_online(unit, GIB)
        assert state(device) == [(unit, GIB, ONLINE)] and meminfo("MemTotal") == total + GIB
        device.take(unit)
        assert meminfo("MemTotal") == total and states(unit, GIB) == [None] * (GIB // BLOCK)
        check_ours(device, unit, order)
    assert len(iomem_of_dmemfs()) == 1
    device.call("REGION_RELEASE", start=unit, length=GIB)
    assert not iomem_of_dmemfs()


@ORDERS
def test_only_whole_units_are_taken_out_of_a_region(device, reserved, order):
    """The region begins and ends between two units."""
    start, length = reserved[0][0], 2 * GIB
    skew = 512 * MIB if order != 18 else 0
    device.claim(start + skew, length - skew, order)
    with fails_with(errno.ENXIO):
        device.lend(start + 2 * GIB)
    if skew:
        with fails_with(errno.ENXIO):
            device.lend(start)
    device.lend(start + GIB)
    bring_online(start + GIB, GIB)
    fd = device.create(1, start + skew, GIB - skew, order)  # beside it
    assert os.pread(fd, 1, 0) == b"\0"
    os.close(fd)
    device.take(start + GIB)
    check_ours(device, start + GIB, order)


def test_units_of_one_region_go_and_come_one_by_one(device, reserved):
    start = reserved[0][0]
    device.claim(start, 2 * GIB)
    total = meminfo("MemTotal")
    for first, second in ((0, GIB), (GIB, 0)):
        for offset in (0, GIB):
            device.lend(start + offset)
            bring_online(start + offset, GIB)
        assert meminfo("MemTotal") == total + 2 * GIB
        device.take(start + first)
        assert state(device) == [(start + second, GIB, ONLINE)]
        device.call("OBJECT_ZERO", offset=start + first, length=GIB)
        with fails_with(errno.EBUSY):
            device.call("REGION_RELEASE", start=start, length=2 * GIB)
        device.take(start + second)


def test_each_unit_becomes_memory_of_its_node(device, reserved):
    for node, (start, size) in enumerate(reserved):
        device.claim(start, size)
        device.lend(start)
        bring_online(start, GIB)
        assert (blocks(start, GIB)[0].parent / f"node{node}").exists()
    for start, _ in reserved:
        device.take(start)


@pytest.mark.parametrize("change", [
    {"length": GIB - PAGE}, {"length": 2 * GIB}, {"length": 0}, {"start": PAGE}, {"start": 128 * MIB}, {"state": 1},
    {"flags": 1}], ids=str)
def test_requests_that_are_not_about_one_unit(device, unit, change):
    members = {"length": GIB, **change, "start": unit + change.get("start", 0)}
    for request in ("REGION_LEND", "REGION_TAKE"):
        with fails_with(errno.EINVAL):
            device.call(request, **members)
    with fails_with(errno.EINVAL):
        device.call("REGION_LEND", start=unit, length=GIB, timeout=1)
    with fails_with(errno.EINVAL):
        device.call("LENT_NEXT", start=unit, length=GIB)
    assert not list(device.lent())


def test_units_outside(device, unit):
    for start in (0, unit - GIB, unit + GIB, (1 << 64) - GIB):
        with fails_with(errno.ENXIO if start != (1 << 64) - GIB else errno.EINVAL):
            device.lend(start)
    with fails_with(errno.ENOENT):
        device.take(unit)


def test_lent_memory_has_no_other_use(device, lent):
    device.call("OBJECT_CREATE", id=1)
    for error, request, members in (
            (errno.EEXIST, "REGION_LEND", {"start": lent, "length": GIB}),
            (errno.EBUSY, "OBJECT_ZERO", {"offset": lent, "length": PAGE}),
            (errno.EBUSY, "OBJECT_ZERO", {"offset": lent + GIB - PAGE, "length": PAGE}),
            (errno.EBUSY, "EXTENT_ADD", {"id": 1, "start": lent + 2 * MIB, "length": PAGE}),
            (errno.EBUSY, "REGION_RELEASE", {"start": lent, "length": GIB})):
        with fails_with(error):
            device.call(request, **members)
    for start in (lent + 1, lent + GIB, (1 << 64) - 1):
        with fails_with(errno.ENOENT):
            device.call("LENT_NEXT", start=start)
    assert next(device.regions()).owned == 0
    assert not pinned(device)


@ORDERS
def test_memory_with_an_owner_is_not_lent(device, unit, order, folio):
    fd = device.create(1, unit + GIB - folio, folio, order)
    with fails_with(errno.EBUSY):
        device.lend(unit)
    os.close(fd)
    device.call("EXTENT_REMOVE", id=1, length=folio)
    device.lend(unit)


@pytest.mark.parametrize("order", [9, 18], ids=["2M", "1G"])
def test_memory_that_a_device_holds_is_not_lent(device, unit, hold, order, folio):
    fd = device.create(1, unit, GIB, order)
    holder = hold(fd, GIB, 0, PAGE)
    device.call("EXTENT_REMOVE", id=1, length=GIB)
    os.close(fd)
    assert pinned(device)
    with fails_with(errno.EBUSY):
        device.lend(unit)
    holder.kill()
    wait_unpinned(device)
    device.lend(unit)


@pytest.mark.parametrize("how", ["online", "online_kernel"])
def test_it_goes_into_the_movable_zone_only(device, unit, how):
    device.lend(unit)
    for path in blocks(unit, GIB):
        with fails_with(errno.EPERM):
            path.write_text(how)
    bring_online(unit, GIB)


@pytest.mark.parametrize("policy", ["online", "online_kernel", "online_movable"])
def test_a_kernel_that_brings_memory_online_by_itself(device, unit, policy):
    POLICY.write_text(policy)
    device.lend(unit)
    assert state(device)[0][2] == (ONLINE if policy == "online_movable" else OFFLINE)
    assert "Movable" in (blocks(unit, GIB)[0].parent / "valid_zones").read_text()


@pytest.mark.parametrize("online", [(), (0,), (3, 4), (0, 2, 4, 6), (7,)], ids=str)
def test_blocks_that_are_offline(device, unit, online):
    total = meminfo("MemTotal")
    device.lend(unit)
    for number in online:
        blocks(unit, GIB)[number].write_text("online_movable")
    assert state(device)[0][2] == OFFLINE and meminfo("MemTotal") == total + len(online) * BLOCK
    device.take(unit)


def test_blocks_that_somebody_takes_offline(device, lent):
    for path in blocks(lent, GIB)[2:5]:
        path.write_text("offline")
    assert state(device)[0][2] == OFFLINE
    device.take(lent)


def test_changes_while_a_take_is_at_work(device, unit):
    """Somebody brings memory blocks online and offline all the time."""
    done = threading.Event()

    def change():
        while not done.is_set():
            for word in ("online_movable", "offline"):
                for path in blocks(unit, GIB)[::3]:
                    with suppress(OSError):
                        path.write_text(word)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(10):
            device.lend(unit)
            time.sleep(0.2)
            device.take(unit)
    finally:
        done.set()
        thread.join()
    check_ours(device, unit)


# What becomes of a take, and how many of the load's pages must be in the unit for the test to be about something.
# Linux 6.12 cannot empty memory of huge pages while others of their pool are free.
HUGETLB = errno.EBUSY if platform.release().startswith("6.12.") else 0
LOADS = {
    "huge": (700, 0, 100_000), "small": (700, 0, 100_000), "locked": (300, 0, 50_000), "ksm": (200, 0, 1),
    "tmpfs": (300, 0, 50_000), "hugetlb": (200, HUGETLB, 10_000), "uring": (16, 0, 0),
    "vmsplice": (16, errno.EBUSY, 100), "splice": (16, errno.EBUSY, 100)}


@pytest.mark.parametrize("kind", LOADS)
def test_loads(device, lent, load, kind):
    mib, wanted, least = LOADS[kind]
    total = meminfo("MemTotal")
    with settings_for(kind, mib):
        process = load(kind, mib)
        if kind == "ksm":
            wait_merged(mib)
            (KSM / "run").write_text("0")  # the pages stay merged: a scanner without its CPU holds one for longer than a take tries
        assert process.check()[0] >= least or kind == "ksm"
        assert take(device, lent, f"{kind} {mib} MiB, {process.inside} pages inside") == wanted
        inside, wrong = process.check()
        assert not wrong
        if wanted:
            assert state(device) == [(lent, GIB, ONLINE)] and meminfo("MemTotal") == total
            process.end()
            assert take(device, lent, f"{kind}, after its end") == 0
        else:
            assert not inside
    check_ours(device, lent)


def test_a_take_that_has_no_time(device, lent, load):
    load("vmsplice", 16)
    for timeout in (0, 1, 20):
        with fails_with(errno.ETIME):
            device.take(lent, timeout=timeout)
    assert state(device) == [(lent, GIB, ONLINE)]


def test_page_cache(device, lent, load):
    """Of files on the laboratory's disk, which have it nowhere else."""
    files = sorted(Path("/usr/bin").glob("*"), key=lambda path: -path.stat().st_size if path.is_file() else 0)[:6]
    process = [load("cache", path.stat().st_size // MIB, path) for path in files]
    inside = sum(one.inside for one in process)
    assert inside > 1000
    assert take(device, lent, f"page cache, {inside} pages inside") == 0


def fill_host(load):
    """Uses all memory of the host but a little."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    return load("huge", (meminfo("MemAvailable") - 200 * MIB) // MIB)


def test_a_full_host(device, lent, load):
    process = fill_host(load)
    assert process.inside > 200_000
    assert take(device, lent, "of a full host") == errno.ENOMEM
    assert state(device) == [(lent, GIB, ONLINE)]
    assert process.check()[1] == 0
    process.end()
    assert take(device, lent, "of a host that was full") == 0


def test_a_full_host_with_swap(device, lent, load):
    """It compresses what it swaps out, and has a place for it."""
    process = fill_host(load)
    with swap(2048):
        assert take(device, lent, "of a full host with swap") == 0
        process.end()


def wait_state(device, *wanted):
    deadline = time.monotonic() + WAIT
    while state(device) != list(wanted):
        assert time.monotonic() < deadline, state(device)
        time.sleep(0.01)


@contextmanager
def taker(device, unit):
    """A process that takes the unit; in the end it is killed. Both use one open file of the device."""
    child = os.fork()
    if not child:
        result(device.take, unit)
        os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        begun = time.monotonic()
        os.waitpid(child, 0)
        assert time.monotonic() - begun < 5


def test_a_daemon_that_dies_in_a_take(device, lent, load):
    """The next one finds the unit lent."""
    process = load("small", 900)
    total = meminfo("MemTotal")
    with taker(device, lent):
        wait_state(device, (lent, GIB, TAKING))
        while process.check()[0] == process.inside:  # nothing was moved yet
            pass
    device.close()
    with Device() as again:
        wait_state(again, (lent, GIB, ONLINE))
        assert meminfo("MemTotal") == total and process.check()[1] == 0
        assert take(again, lent, "after the first daemon died in a take") == 0


def test_a_file_system_that_does_not_answer(device, lent, reserved, tmp_path):
    """The kernel waits for a locked page. Neither who asked for the take nor anything else waits with it."""
    other = reserved[1][0]
    device.claim(other, GIB)
    with silent_fs.mounted(tmp_path) as (server, path):
        command = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{0}}); open({str(path)!r}, 'rb').read(1)"]
        reader = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        assert server.was_read.wait(WAIT)
        begun = time.monotonic()
        with fails_with(errno.ETIME):
            device.take(lent, timeout=3000)
        assert time.monotonic() - begun < 20
        device.lend(other)
        assert take(device, other, "while a file system does not answer") == 0
        with taker(device, lent):
            time.sleep(0.5)
        assert state(device) == [(lent, GIB, TAKING)]
    reader.wait(WAIT)
    wait_state(device, (lent, GIB, ONLINE))
    assert take(device, lent, "after a file system did not answer") == 0


def test_signals_that_end_nothing(device, lent, load):
    """They neither end a take nor let it fail."""
    load("small", 300)
    with noise():
        assert take(device, lent, "with signals") == 0


@contextmanager
def noise():
    """A signal each 10 ms."""
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_page_tables_lead_to_lent_memory_only_while_it_is_lent(device, unit, tables):
    """And nothing of it stays in the kernel's page tables afterwards."""
    nothing = {"4K": 0, "2M": 0, "1G": 0}
    assert tables.entries(unit, GIB) == nothing
    for online in (False, True):
        device.lend(unit)
        if online:
            bring_online(unit, GIB)
        assert sum(tables.entries(unit, GIB).values())
        device.take(unit)
        assert tables.entries(unit, GIB) == nothing


@pytest.mark.parametrize("order", [9, 18], ids=["2M", "1G"])
def test_no_memory_to_make_the_folios_again(device, unit, tables, order):
    """The unit has no use until they can be made."""
    device.lend(unit)
    tables.refuse(unit, GIB, 2)
    for _ in range(2):
        with fails_with(errno.ENOMEM):
            device.take(unit)
        assert state(device) == [(unit, GIB, OFFLINE)] and states(unit, GIB) == [None] * (GIB // BLOCK)
        with fails_with(errno.EBUSY):
            device.call("OBJECT_ZERO", offset=unit, length=GIB)
        with fails_with(errno.EEXIST):
            device.lend(unit)
    device.take(unit)
    check_ours(device, unit, order)


def test_processes_do_all_with_lent_memory(device, lent, disk):
    """Devices may have it: the module keeps them away from raw memory only."""
    buffer = mmap.mmap(-1, 600 * MIB)
    buffer[0 : len(buffer) : PAGE] = b"x" * (len(buffer) // PAGE)
    assert os.preadv(disk, [memoryview(buffer)[: 32 * MIB]], 0) == 32 * MIB
    assert os.pwritev(disk, [memoryview(buffer)[: 32 * MIB]], 0) == 32 * MIB
    assert take(device, lent, "after a device had it") == 0
    assert buffer[500 * MIB : 500 * MIB + 1] == b"x"


def test_module_stays_while_memory_is_lent(device, unit):
    device.lend(unit)
    device.close()
    status, said = unload()
    assert status and "in use" in said
    with Device() as again:
        again.take(unit)
    with unloaded():
        pass


@ORDERS
def test_round_after_round(device, unit, load, order):
    """Nothing is lost."""
    for number in range(20):
        if number == 2:
            before = free_memory()
        device.lend(unit)
        bring_online(unit, GIB)
        if number % 5 == 0:
            load("small", 100).end()
        device.take(unit)
    wait_until(lambda: free_memory() > before - 8 * MIB, "the kernel has its memory again", WAIT)
    check_ours(device, unit, order)
