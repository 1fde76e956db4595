# SPDX-License-Identifier: GPL-2.0-or-later
"""
Contains every test: a work directory and a daemon of its own, a watchdog, a check of the books, the daemon's log and
exit status, and nothing left behind. See helpers/ for each.

Environment:
  DMEMFSD              the daemon to test; the default is the newest build*/fuse-daemon/dmemfsd
  DMEMFS_BACKEND       memory (default) or pfn
  DMEMFS_TEST_PROFILE  ci (default), quick, vm or long: how hard some tests try, see helpers/effort.py; quick leaves some out
  DMEMFS_TEST_SCALE    factor on every time limit, for slow machines and sanitizers; the default is 1
  DMEMFS_FSCK          the dmemfsctl that checks the record after each test; the default is the one built with the daemon
  DMEMFS_TEST_KEEP     not empty: keep the work directories of tests that passed, too
"""

import os
import re
import shutil
import signal
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from helpers.backends import MIB, PAGE_SIZES, backend_from_environment
from helpers.daemon import Daemon
from helpers.effort import EXAMPLES, PROFILE, page_sizes
from helpers.mount import Mount
from helpers.processes import children_of, is_zombie, lazy_unmount, mounts_under, processes_naming
from helpers.quota import check_usage, make_tenants
from helpers.sizes import is_only_in_full
from helpers.syscalls import keep_mounts_private
from helpers.watchdog import Watchdog

TOP = Path(__file__).parents[1]
SCALE = float(os.environ.get("DMEMFS_TEST_SCALE", "1"))
TEST_TIMEOUT = 60
CAPACITY = {"4K": 64 * MIB, "2M": 64 * MIB, "1G": 8192 * MIB}

_COMMON = {"deadline": None, "database": None, "print_blob": True,
           "suppress_health_check": (HealthCheck.too_slow, HealthCheck.data_too_large)}
for name, examples in EXAMPLES.items():
    settings.register_profile(name, max_examples=examples, stateful_step_count=60 if name == "long" else 30,
                              derandomize=name != "long", **_COMMON)
settings.load_profile(PROFILE)


def pytest_sessionstart():
    """SIGTERM ends the session as Ctrl-C does: mounts, daemons and their memory are cleared away."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("SIGTERM", 128 + signal.SIGTERM))


def pytest_generate_tests(metafunc):
    if "page_size" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("page_sizes")
        sizes = marker.args if marker else ("4K", "2M")
        metafunc.parametrize("page_size", page_sizes(metafunc.module.__name__.rpartition(".")[2], sizes))


def pytest_collection_modifyitems(config, items):
    if PROFILE == "quick":
        left_out = [item for item in items if is_only_in_full(item.nodeid)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Lets fixtures see how the test went, and adds the daemon's log to the report of a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.stash[FAILED] = True
        work = item.stash.get(WORK, None)
        if work:
            report.sections.append(("work directory, kept", str(work)))
            for log in sorted(work.glob("*.log")):
                report.sections.append((log.name, log.read_text(errors="replace")[-20000:]))


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item):
    """A test that hung has failed, whatever it did with the error that ended the hang."""
    yield
    if WATCHDOG in item.config.stash:
        item.config.stash[WATCHDOG].check()


FAILED = pytest.StashKey[bool]()
WORK = pytest.StashKey[Path]()
WATCHDOG = pytest.StashKey[Watchdog]()


@pytest.fixture(scope="session")
def dmemfsd():
    """The program under test."""
    program = os.environ.get("DMEMFSD")
    if not program:
        builds = sorted(TOP.glob("build*/fuse-daemon/dmemfsd"), key=lambda path: path.stat().st_mtime)
        program = builds[-1] if builds else None
    if not program or not os.access(program, os.X_OK):
        pytest.exit("no dmemfsd to test: build it (meson setup build && ninja -C build), or name it in DMEMFSD", 2)
    return Path(program).resolve()


@pytest.fixture(scope="session")
def session_directory():
    """Where all work directories lie. Other users may pass through it: tests run as them."""
    keep_mounts_private()
    directory = Path(tempfile.mkdtemp(prefix="dmemfs-tests."))
    directory.chmod(0o755)
    yield directory
    with suppress(OSError):
        directory.rmdir()  # empty unless a test failed


@pytest.fixture(scope="session")
def watchdog(pytestconfig, session_directory):
    dog = pytestconfig.stash[WATCHDOG] = Watchdog(session_directory)
    yield dog
    dog.close()


@pytest.fixture(scope="session")
def backend(session_directory, watchdog):  # which unmounts, when it closes, what is left by then
    chosen = backend_from_environment(session_directory)
    yield chosen
    chosen.close()


@pytest.fixture
def forgetful(backend):
    """Named before what uses the memory: afterwards, nobody remembers that some of it is bad."""
    yield
    backend.forget_errors()


@pytest.fixture(autouse=True)
def memory_only(request):
    """Skips, with the reason, what looks into tmpfs when the bytes are not there."""
    marker = request.node.get_closest_marker("memory_only")
    if marker and not request.getfixturevalue("backend").looks_inside:
        pytest.skip(f"memory backend only: {marker.args[0]}")


@pytest.fixture
def work(request, session_directory, watchdog):
    """
    The test's own directory, under guard: the watchdog's time runs while the test and its other fixtures do. Whatever
    is left in it afterwards, mounts or processes, fails the test and is cleared away.
    """
    name = re.sub(r"[^\w.=-]+", "_", request.node.name)[:80]
    directory = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=session_directory))
    directory.chmod(0o755)
    request.node.stash[WORK] = directory
    marker = request.node.get_closest_marker("timeout")
    watchdog.arm(request.node.nodeid, (marker.args[0] if marker else TEST_TIMEOUT) * SCALE, directory)
    umask = os.umask(0o022)
    yield directory
    os.umask(umask)
    watchdog.disarm()
    left = _clear_away(directory, watchdog)
    if not (left or request.node.stash.get(FAILED, False) or os.environ.get("DMEMFS_TEST_KEEP")):
        shutil.rmtree(directory)
    assert not left, f"the test left behind: {', '.join(left)}"


def _clear_away(directory, watchdog):
    """Ends the processes and mounts of a test, and names them."""
    processes = set(processes_naming(str(directory)))
    processes |= {pid for pid in children_of(os.getpid()) if pid != watchdog.pid and not is_zombie(pid)}
    left = [f"process {pid}" for pid in processes]
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    left += [f"mount {point}" for point in mounts_under(directory)]
    lazy_unmount(directory)
    return left


@contextmanager
def _failure_keeps_work(request):
    """A fixture that fails after its test keeps the work directory, too."""
    try:
        yield
    except BaseException:
        request.node.stash[FAILED] = True
        raise


def _daemon_settings(request):
    marker = request.node.get_closest_marker("dmemfs")
    return {key.replace("_", "-"): str(value) for key, value in marker.kwargs.items()} if marker else {}


@pytest.fixture
def capacity(request, page_size):
    """What the daemon owns, in bytes."""
    return int(_daemon_settings(request).get("size", CAPACITY[page_size]))


@pytest.fixture
def pages():
    """The compound pages of the memory, where it is reserved memory."""
    return "none"


@pytest.fixture
def daemon(request, work, dmemfsd, backend, page_size, capacity, pages):
    """A daemon that is configured, but not started: for tests of its life. The others take `fs`."""
    backend.clear()
    keys, groups = backend.settings(capacity, pages)
    wanted = _daemon_settings(request)
    for key in ("size", *backend.foreign_keys):  # the size is @capacity
        wanted.pop(key, None)
    keys = {**keys, "page-size": page_size, **wanted}
    instance = Daemon(dmemfsd, work, keys, groups, ready_timeout=30 * SCALE)
    instance.expected = [marker.args[0] for marker in request.node.iter_markers("expect_log")]
    instance.write_reproduction(request.node.nodeid)
    yield instance
    with _failure_keeps_work(request):
        if instance.process is not None:
            instance.stop()
        instance.check_record()


@pytest.fixture
def fs(request, daemon, backend, page_size, capacity):
    """A mount. After the test its books must balance, its daemon end well and its log be clean."""
    daemon.start()
    mount = Mount(daemon, backend, PAGE_SIZES[page_size], capacity)
    yield mount
    if daemon.running and not request.node.stash.get(FAILED, False):
        with _failure_keeps_work(request):
            mount.check()


@pytest.fixture
def kept(fs):
    """A mount whose connection the manager keeps."""
    fs.daemon.manager.keeps = True
    fs.daemon.stop()
    fs.daemon.start()
    assert fs.daemon.manager.stored is not None
    return fs


@pytest.fixture
def pretend(monkeypatch):
    """Before the daemon starts."""
    monkeypatch.setenv("DMEMFS_PRETEND_DIRTY", "1")


@pytest.fixture
def pool(pretend, fs):
    """A mount whose memory needs zeroing."""
    return fs


@pytest.fixture
def pair(fs):
    """Two directories, with limits of 8 and of 4 units."""
    yield make_tenants(fs)
    check_usage(fs.root)


@pytest.fixture
def tenant(pair):
    return pair[0]
