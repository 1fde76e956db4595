# SPDX-License-Identifier: GPL-2.0-or-later
"""
What `./run-tests` without a word runs; `./run-tests full` runs everything. tests/README.md says how long each part takes.

On the host, DMEMFS_TEST_PROFILE=quick leaves out ONLY_IN_FULL and runs the files of ONE_PAGE_SIZE once (conftest.py). In the
VM, `tests/vm/run --core` runs CORE and nothing else. A test is named as pytest names it below tests/, or by how that begins.
"""

# Files whose tests are about names, records and the life of the daemon, where the page size makes no difference.
ONE_PAGE_SIZE = {f"test_{name}" for name in ("attributes", "command_line", "durable", "lifecycle", "links", "names",
                                             "permissions", "quota_record", "rename", "supervise", "takeover", "watchdog",
                                             "xattr")}

# By the reason. These tests take more than ten seconds each, and find what a shorter test finds too, or what only a change of the
# tests themselves breaks.
ONLY_IN_FULL = {
    "the test machinery itself": ("mount/test_harness.py",),
    "it boots a guest on the host; the guest in the VM covers it": ("ctl/test_ctl_readme.py::test_quickstart",),
    "a switch that polls has a CPU for itself; test_clients.py has another server of vhost-user": ("mount/test_ovs_dpdk.py",),
    "only the full run installs podman": ("mount/test_podman.py",),
    "it boots a guest fifty times; the next test of the file does so five times": (
        "mount/test_guests.py::test_a_guest_that_reboots_many_times",),
    "it waits for a moment at which no other program uses memory": ("mount/test_monitoring.py::test_free",),
    "size is what takes long; test_xattr.py has a file in very many runs, too": (
        "ctl/test_ctl_views.py::test_extents_of_a_file_in_very_many_runs",
        "mount/test_scale.py::test_twelve_tebibytes_for_2000_guests_of_64_clients"),
    "files and attributes reach the limit in the same way": (
        "mount/test_hostile.py::test_daemon_does_not_grow_past_its_limit[4K-nameless_files]",
        "mount/test_hostile.py::test_daemon_does_not_grow_past_its_limit[4K-directories]",
        "mount/test_hostile.py::test_daemon_does_not_grow_past_its_limit[4K-symlinks]",
        "mount/test_hostile.py::test_daemon_does_not_grow_past_its_limit[4K-links]",
        "mount/test_hostile.py::test_daemon_does_not_grow_past_its_limit[4K-small_attributes]"),
}

CORE = {
    "mapping and faults": (
        "vm/test_faults.py::test_each_fault_gets_the_largest_page_that_fits",
        "vm/test_demand_module.py::test_touching_a_hole_brings_a_unit",
        "vm/test_demand_module.py::test_many_threads[64]",
        "vm/test_demand_module.py::test_resize_ends_the_wait",
        "vm/test_demand_module.py::test_punched_units_come_back",
        "vm/test_demand_module.py::test_a_waiting_process_can_be_killed",
        "vm/test_demand.py::test_memory_comes_unit_by_unit",
        "mount/test_mapping.py"),
    "ownership": (
        "vm/test_daemon.py",
        "vm/test_module.py",
        "vm/test_ioctl_bytes.py",
        "vm/test_ioctl_model.py"),
    "lifetime": (
        "vm/test_module_upgrade.py::test_everything_is_kept",
        "vm/test_module_upgrade.py::test_stale_bytes_are_never_shown"),
    "walkers of page tables": (
        "vm/test_walkers.py::test_walkers[2M-raw]",
        "vm/test_walkers.py::test_walkers[1G-pages=1G]",
        "vm/test_walkers.py::test_walkers_on_discarding_mappings[4K]",
        "vm/test_walkers.py::test_cutting_a_mapping_while_others_fault",
        "vm/test_walkers.py::test_userfaultfd_in_every_mode[raw]",
        "vm/test_walkers.py::test_userfaultfd_in_every_mode[pages=2M]",
        "vm/test_walkers.py::test_a_child_gets_no_entries_but_the_same_memory[2M-raw]",
        "vm/test_walkers.py::test_a_child_gets_no_entries_but_the_same_memory[2M-pages=2M]"),
    "memory with struct pages": (
        "vm/test_pages_model.py",
        "vm/test_pages_module.py::test_entries",
        "vm/test_pages_module.py::test_direct_io",
        "vm/test_pages_module.py::test_reading_and_writing_from_one_folio_to_the_next",
        "vm/test_pages_pins.py::test_memory_that_a_device_holds",
        "vm/test_pages_pins.py::test_only_what_is_held_is_pinned",
        "vm/test_pages_poison.py::test_one_page_is_lost"),
    "poison": (
        "vm/test_poison_module.py",
        "vm/test_poison_mount.py::test_guest_is_told_and_the_page_never_comes_back"),
    "a nested guest": ("vm/test_nested.py::test_guest_in_a_named_file",),
    "a kill -9 of the daemon": ("vm/test_demand.py::test_a_killed_daemon_is_waited_for",),
}


def names_of(table):
    return [name for names in table.values() for name in names]


def is_only_in_full(nodeid):
    return nodeid.startswith(tuple(names_of(ONLY_IN_FULL)))
