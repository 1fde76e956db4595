# SPDX-License-Identifier: GPL-2.0-or-later
"""The metrics file: Prometheus can read it, and the alerts and the dashboard use nothing that it does not have."""

import errno
import json
import os
import re
import stat
import signal
import time
from pathlib import Path

import pytest

from helpers.children import Child
from helpers.expect import refused
from helpers.mount import wait_until
from helpers.syscalls import opened

yaml = pytest.importorskip("yaml")
parser = pytest.importorskip("prometheus_client.parser")

CONFIGS = Path(__file__).parents[2] / "configs"
QUOTAS = '\n[quota tenant]\npath=/a"b\nmax-bytes=8M\n[quota files]\npath=/dir\nmax-files=10\n'
INTERVAL = 1
# Of version 0.1.0: alerts and dashboards use them.
KEPT = {"dmemfs_allocated_bytes", "dmemfs_build_info", "dmemfs_capacity_bytes", "dmemfs_free_bytes", "dmemfs_free_page_bytes",
        "dmemfs_free_state_bytes", "dmemfs_inodes", "dmemfs_node_capacity_bytes", "dmemfs_node_free_bytes",
        "dmemfs_oldest_request_seconds", "dmemfs_pending_bytes", "dmemfs_poisoned_bytes", "dmemfs_promised_bytes",
        "dmemfs_quota_limit_bytes", "dmemfs_quota_limit_inodes", "dmemfs_quota_used_bytes", "dmemfs_quota_used_inodes",
        "dmemfs_refused_sizings_total", "dmemfs_request_seconds_total", "dmemfs_request_threads", "dmemfs_requests_in_progress",
        "dmemfs_requests_total", "dmemfs_start_time_seconds", "dmemfs_written_time_seconds", "dmemfs_zeroed_bytes_total"}

pytestmark = pytest.mark.page_sizes("4K")


class Metrics:
    """Reads the file anew at each call."""

    def __init__(self, path):
        self._path = path

    def families(self):
        return {family.name: family for family in parser.text_string_to_metric_families(self._path.read_text())}

    def samples(self, name):
        """{labels without the mount point: value}"""
        found = {}
        for family in self.families().values():
            for sample in family.samples:
                if sample.name == name:
                    labels = dict(sample.labels)
                    assert labels.pop("mountpoint")
                    found[tuple(sorted(labels.items()))] = sample.value
        return found

    def value(self, name, **labels):
        return self.samples(name).get(tuple(sorted(labels.items())))

    def next(self):
        """Waits until the daemon has written the file again."""
        before = time.time()
        wait_until(lambda: self.value("dmemfs_written_time_seconds") > before, "the file is replaced", 10)
        return self


@pytest.fixture
def metrics(fs):
    path = fs.daemon.work / "dmemfs.prom"
    text = fs.daemon.config.read_text()
    fs.daemon.config.write_text(text.replace("[daemon]\n", f"[daemon]\nmetrics-file={path}\nmetrics-interval={INTERVAL}\n")
                                + QUOTAS)
    fs.daemon.stop()
    fs.daemon.start()
    wait_until(path.exists, "the file is written")
    return Metrics(path)


def test_names_units_and_types(fs, metrics):
    """Prometheus' conventions: a prefix, base units, _total for counters only, a help text."""
    families = metrics.families()
    assert families
    for name, family in families.items():
        assert name.startswith("dmemfs_") and family.documentation.endswith("."), name
        assert family.type in ("gauge", "counter")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert sample.labels["mountpoint"] == str(fs.root)
        assert not re.search(r"_(us|ms|kb|mb|kib|mib|gib|minutes|percent)(_|$)", name)
    assert re.search(r"^# TYPE dmemfs_requests_total counter$", (fs.daemon.work / "dmemfs.prom").read_text(), re.MULTILINE)


def test_names_of_earlier_versions(fs, metrics):
    assert KEPT <= set(re.findall(r"^# TYPE (\w+) ", (fs.daemon.work / "dmemfs.prom").read_text(), re.MULTILINE))


def test_memory(fs, metrics):
    fs.make_file("file", size=5 * fs.unit)
    with opened(fs.make_file("removed", size=3 * fs.unit)):
        (fs / "removed").unlink()
        assert metrics.next().value("dmemfs_removed_bytes") == 3 * fs.unit
    wait_until(lambda: fs.stats()["removed_bytes"] == 0, "nobody uses it")
    metrics.next()
    stats = fs.stats()
    for name in ("capacity", "free", "pending", "removed", "pinned", "allocated", "promised"):
        assert metrics.value(f"dmemfs_{name}_bytes") == stats[f"{name}_bytes"], name
    assert metrics.value("dmemfs_free_page_bytes", page_size="2M") == stats["free_2m_bytes"]
    assert metrics.value("dmemfs_free_page_bytes", page_size="1G") == stats["free_1g_bytes"]
    states = metrics.samples("dmemfs_free_state_bytes")
    assert len(states) == 3 and sum(states.values()) == metrics.value("dmemfs_free_bytes")
    assert metrics.value("dmemfs_zeroed_bytes_total") is not None
    assert metrics.samples("dmemfs_poisoned_bytes").keys() and not any(metrics.samples("dmemfs_poisoned_bytes").values())
    assert metrics.value("dmemfs_pinned_oldest_seconds") == metrics.value("dmemfs_pinned_former_bytes") == 0
    assert metrics.value("dmemfs_inodes", type="file") == 1
    assert metrics.value("dmemfs_inodes", type="directory") == stats["directories"]
    nodes = metrics.samples("dmemfs_node_capacity_bytes")
    assert sum(nodes.values()) == fs.capacity
    assert sum(metrics.samples("dmemfs_node_free_bytes").values()) == stats["free_bytes"]


def test_quotas(fs, metrics):
    (fs / 'a"b' / "file").write_bytes(bytes(fs.unit))
    metrics.next()
    tenant = {"quota": "tenant", "path": '/a"b'}
    assert metrics.value("dmemfs_quota_limit_bytes", **tenant) == 8 << 20
    assert metrics.value("dmemfs_quota_used_bytes", **tenant) == fs.unit
    assert metrics.value("dmemfs_quota_used_inodes", **tenant) == 1
    assert metrics.value("dmemfs_quota_limit_inodes", **tenant) is None
    assert metrics.value("dmemfs_quota_limit_inodes", quota="files", path="/dir") == 10
    os.rmdir(fs / "dir")  # and the limit with it
    metrics.next()
    assert metrics.value("dmemfs_quota_limit_inodes", quota="files", path="/dir") is None
    os.unlink(fs / 'a"b' / "file")


@pytest.mark.parametrize("directory, error", [("", "ENOSPC"), ('a"b', "EDQUOT")])
def test_refused_sizings(fs, metrics, directory, error):
    """Each way to size a file is counted. The log names the process and the size that it wanted."""
    path, size = fs / directory / "file", fs.capacity + fs.unit
    with opened(path, os.O_RDWR | os.O_CREAT) as fd:
        number = getattr(errno, error)
        refused(number, os.ftruncate, fd, size)
        refused(number, os.posix_fallocate, fd, fs.unit, size)
        refused(number, os.pwrite, fd, b"x", size)
        assert metrics.next().value("dmemfs_refused_sizings_total") == 3
        inode = os.fstat(fd).st_ino
    for wanted in (size, size + fs.unit, size + 1):
        name = re.escape(f"/{directory}/file".replace("//", "/"))
        assert re.search(rf"inode {inode} \({name}\): {error} for \S+ \(pid {os.getpid()}, uid 0\): wanted a size of {wanted} bytes, "
                         rf"{fs.capacity} are free{' outside its quota' if error == 'EDQUOT' else ''}\n", fs.daemon.log)


def test_requests(fs, metrics):
    before = metrics.next().value("dmemfs_requests_total", operation="statfs")
    for _ in range(10):
        os.statvfs(fs.root)
    metrics.next()
    assert metrics.value("dmemfs_requests_total", operation="statfs") >= before + 10
    assert metrics.value("dmemfs_request_seconds_total", operation="statfs") > 0
    assert metrics.value("dmemfs_request_threads") > 0
    assert metrics.value("dmemfs_requests_in_progress") == metrics.value("dmemfs_oldest_request_seconds") == 0


def test_request_that_stands_still_is_seen(fs, metrics):
    fs.make_file("file", b"x")
    fs.daemon.manager.keeps = True
    fs.daemon.stop()
    fs.daemon.start(DMEMFS_HANG_AT="registered")
    wait_until((fs.daemon.work / "dmemfs.prom").exists, "the file is written")

    def client():
        with opened(fs / "file", os.O_RDONLY) as fd:
            assert os.pread(fd, 1, 0) == b"x"

    with Child(client) as child:
        wait_until(lambda: metrics.next().value("dmemfs_oldest_request_seconds") > INTERVAL, "it is seen", 20)
        assert metrics.value("dmemfs_requests_in_progress") == 1
        fs.daemon.kill()
        fs.daemon.take_over()
        child.wait()


def test_nobody_reads_half_of_it(fs, metrics):
    """The file is replaced as a whole each time, and other users may read it."""
    path = fs.daemon.work / "dmemfs.prom"
    assert path.stat().st_mode & 0o7777 == 0o644
    start = time.monotonic()
    seen = set()
    names = set(metrics.families())
    while len(seen) < 2 or time.monotonic() < start + 2.5 * INTERVAL:
        assert time.monotonic() < start + 20 * INTERVAL, "it is not replaced"
        seen.add(path.stat().st_ino)
        assert set(metrics.families()) == names
    assert [name for name in os.listdir(fs.daemon.work) if name.startswith("dmemfs.prom")] == ["dmemfs.prom"]


def test_file_ends_with_the_mount(fs, metrics):
    """
    Old figures would look like a mount, so the file is removed. A daemon that leaves the mount to the next daemon
    leaves the file, too.
    """
    path = fs.daemon.work / "dmemfs.prom"
    fs.daemon.manager.keeps = True
    fs.daemon.stop()
    assert not path.exists()
    fs.daemon.start()
    wait_until(path.exists, "the file is written")
    os.kill(fs.daemon.pid, signal.SIGTERM)
    assert fs.daemon.wait() == 0
    started = metrics.value("dmemfs_start_time_seconds")
    fs.daemon.take_over()
    wait_until(lambda: metrics.value("dmemfs_start_time_seconds") > started, "the next daemon writes")


def test_directory_that_is_not_there(fs, metrics):
    """The daemon says so at the start, logs one line when it cannot write, and writes the file as soon as the directory exists."""
    away, gone = fs.daemon.work / "dmemfs.prom", fs.daemon.work / "gone"
    fs.daemon.config.write_text(fs.daemon.config.read_text().replace(str(away), str(gone / "x.prom")))
    fs.daemon.stop()
    fs.daemon.start()
    wait_until(lambda: "cannot write metrics" in fs.daemon.log, "it complains")
    time.sleep(2.5 * INTERVAL)
    gone.mkdir()
    wait_until((gone / "x.prom").exists, "the file is written")
    assert fs.daemon.log.count("cannot write metrics") == 1
    fs.daemon.expected += [rf"metrics-file: {gone} does not exist: run mkdir -p {gone}, ",
                           "x.prom: cannot write metrics: No such file or directory: trying again"]


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("../victim")])
def test_what_others_put_beside_it(fs, metrics, plant):
    """
    Other users may write into the directory. The daemon does not wait for what they put there, follow it or use it.
    """
    directory = fs.daemon.work / "theirs"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    (fs.daemon.work / "victim").write_text("kept")
    for name in ("dmemfs.prom.new", "dmemfs.prom"):
        plant(directory / name)
    text = fs.daemon.config.read_text()
    fs.daemon.config.write_text(text.replace(str(fs.daemon.work / "dmemfs.prom"), str(directory / "dmemfs.prom")))
    fs.daemon.stop()
    fs.daemon.start()
    path = directory / "dmemfs.prom"
    if path.is_dir():
        fs.daemon.expected.append("dmemfs.prom: cannot write metrics: Is a directory: trying again")
        wait_until(lambda: "cannot write metrics" in fs.daemon.log, "it complains")
    else:
        wait_until(lambda: stat.S_ISREG(path.lstat().st_mode), "the file is written")
    fs.daemon.stop()
    assert (fs.daemon.work / "victim").read_text() == "kept"
    assert {entry.name for entry in directory.iterdir()} <= {"dmemfs.prom.new", "dmemfs.prom"}
    fs.daemon.start()


# --- what is made of them ---

def metrics_in(expression):
    return set(re.findall(r"\bdmemfs_\w+", expression))


def sample_names(metrics):
    return {sample.name for family in metrics.families().values() for sample in family.samples}


def test_rules_use_what_exists(metrics):
    groups = yaml.safe_load((CONFIGS / "dmemfs.rules.yml").read_text())["groups"]
    known = sample_names(metrics)
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    assert {"dmemfs_pending_bytes", "dmemfs_removed_bytes"} <= set().union(*(metrics_in(rule["expr"]) for rule in rules))
    for rule in rules:
        assert metrics_in(rule["expr"]) and metrics_in(rule["expr"]) <= known, rule["alert"]
        assert {"summary", "description"} == set(rule["annotations"])
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        # What is lent is free for files.
        for free, lent in (("dmemfs_free_bytes", "dmemfs_lent_bytes"), ("dmemfs_node_free_bytes", "dmemfs_node_lent_bytes")):
            assert (free in rule["expr"]) <= (lent in rule["expr"]), rule["alert"]
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert used <= {"instance", "mountpoint", "node", "quota", "path"}


def test_dashboard_uses_what_exists(metrics):
    board = json.loads((CONFIGS / "dmemfs-dashboard.json").read_text())
    known = sample_names(metrics)
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    expressions += [variable["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    for expression in expressions:
        assert metrics_in(expression) and metrics_in(expression) <= known, expression
    assert known - {name for expression in expressions for name in metrics_in(expression)} == set()
    places = [panel["gridPos"] for panel in board["panels"]]
    cells = [(x, y) for place in places for x in range(place["x"], place["x"] + place["w"])
             for y in range(place["y"], place["y"] + place["h"])]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24
