# SPDX-License-Identifier: GPL-2.0-or-later
"""A real QEMU binds its memory to a NUMA node, as for a strict numatune of libvirt, but the file has it from another one."""

import pytest

from helpers.stopped_qemu import SIZE, backend_file, examine, qemu
from test_numa import both, nodes_of, with_policy  # noqa: F401 both is a fixture

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.timeout(120)]


@pytest.mark.parametrize("bound", ["0", "1", "0-1"])
def test_memory_that_is_bound_to_a_node(ctl, both, bound):  # noqa: F811
    directory = with_policy(both, "far", "1")
    with qemu(backend_file(directory / "vm1", prealloc=None, policy="bind", **{"host-nodes": bound}), ctl.work) as ask:
        found, shown, user = examine(ctl, both, ask.pid)
        assert nodes_of(both, directory / "vm1") == [1] * (SIZE // both.unit)
    if bound != "0":
        assert (found, shown, user["unmet_nodes"]) == ([], "", None)
        return
    (finding,) = found
    assert finding["level"] == "problem"
    assert "bound its mapping of far/vm1 to other NUMA nodes" in finding["text"] and "on node 1" in finding["text"]
    assert (shown, user["unmet_nodes"]) == (", not bound to node 1", "1")
