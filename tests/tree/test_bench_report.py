# SPDX-License-Identifier: GPL-2.0-or-later
"""What ./run-bench makes of its figures: a file with rows, tables, plots, and whether each goal is met."""

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "bench"))

import goals
import names
import report
import results


def peers(ours, theirs):
    return [results.row(names.TOUCH, goals.HUGETLBFS, theirs, "ms", "icount"),
            results.row(names.TOUCH, goals.OURS, ours, "ms", "icount")]


def test_a_row_is_the_median_and_the_spread_of_its_rounds():
    row = results.row("figure", "system", [3, 1, 2], "ms", "host")
    assert (row.value, row.spread, row.n) == (2, (1, 3), 3)
    assert results.row("figure", "system", 5, "ms", "tcg").spread == (5, 5)
    with pytest.raises(ValueError):
        results.row("figure", "system", 5, "ms", "sundial")


def test_parts_share_a_file_and_replace_only_their_own(tmp_path):
    path = tmp_path / "below" / "results.json"
    results.store(path, "first", peers([1], [100]))
    results.store(path, "second", [results.row("figure", "system", 1, "s", "host")])
    results.store(path, "first", peers([2], [200]))
    assert [row.value for row in results.load(path)] == [1, 200, 2]


def test_others_are_told_as_multiples_of_dmemfs():
    rows = peers([2.0], [100.0, 300.0])
    assert "x100" in report.terminal(rows)
    assert f"| {goals.OURS} | 2 | 1 |" in report.markdown(rows)
    assert f"|  | {goals.HUGETLBFS} | 200 | 100 | 100..300 |" in report.markdown(rows)
    assert "(x4)" in report.terminal([results.row("open", f"dmemfs, {count} files", count, "us", "host") for count in (5, 20)])


@pytest.mark.parametrize("ours, theirs, word", [([1.0], [100.0], "holds"), ([1.1], [100.0], "does not hold"),
                                                ([0.0], [0.0], "holds"),
                                                    ([-3.0], [-1.0], "cannot be told"), ([-1.0], [1.0], "cannot be told"),
                                                    ([1.02], [100.0, 101.0, 103.0], "within the spread of the peer's rounds")])
def test_a_goal_is_undecided_up_to_the_worst_round_of_the_peer(ours, theirs, word):
    line, = goals.lines(peers(ours, theirs))
    assert line.endswith(f": {word}")


def test_goals_without_their_rows_say_nothing():
    assert goals.lines(peers([1], [100])[:1]) == []


def test_the_goal_of_zeroing_is_a_share():
    lines = [goals.lines([results.row(names.ZEROING, "dmemfs, in advance, one thread", value, "share", "host")])[0]
             for value in (0.89, 0.9)]
    assert [line.endswith("not hold") for line in lines] == [True, False]


def test_the_goal_of_growth_is_a_bound():
    lines = [goals.lines([results.row(names.GROWTH, "dmemfs pages=1G, 10 GiB", value, "KiB", "icount")])[0] for value in (48, 48.1)]
    assert [line.partition("at most ")[2] for line in lines] == ["48 wanted: holds", "48 wanted: does not hold"]


def test_goal_of_a_clock_looks_at_no_other():
    rate = names.METADATA.format("create")
    rows = [results.row(rate, "dmemfs", value, "times", clock) for value, clock in ((0.2, "host"), (1.5, "icount"))]
    assert [line.rpartition(": ")[2] for line in goals.lines(rows)] == ["holds", "does not hold"]
    assert [line.split(", ")[2].split(":")[0] for line in goals.lines(rows)] == ["icount", "host"]


def test_summary_has_its_panels_or_is_not_drawn():
    """Each figure with dmemfs first; of a figure with many systems those that matter."""
    ours = report.SUMMARY[names.TOUCH][1][0]
    rows = [results.row(figure, system, 1, "s", "host") for figure in report.SUMMARY
            for system in ("device-dax 1G", "memfd 4K", ours)]
    panels = report.summary(rows)
    assert [title for (title, _, _), _ in panels] == [title for title, _ in report.SUMMARY.values()]
    assert [[row.system for row in group] for _, group in panels[:2]] == [
        [ours, "device-dax 1G", "memfd 4K"], [ours, "device-dax 1G"]]
    assert report.summary(rows[3:]) == []


def test_each_figure_that_compares_is_in_one_plot_or_left_out_with_a_reason():
    figures = Path(report.__file__).parent / "figures"
    rows = results.load(figures / "results.json")
    compared = {figure for figure, group in report.by_figure(rows) if len(group) > 1}
    left_out = {figure for figure in compared if figure[0].startswith(report.NOISE + report.REPETITION)}
    plots = report.plotted(rows)
    assert sorted(figure for group in plots.values() for figure, _ in group) == sorted(compared - left_out)
    assert plots.keys() == report.GROUPS.keys()
    text = (figures / "README.md").read_text()
    assert {path.stem for path in figures.glob("*.svg")} == {*plots, "summary"} == set(re.findall(r"\((\S+)\.svg\)", text))


def test_summary_is_of_systems_that_were_measured():
    """The results in the tree have all systems of the summary. The README shows the picture."""
    figures = Path(report.__file__).parent / "figures"
    panels = report.summary(results.load(figures / "results.json"))
    assert len(panels) == 4
    for (_, systems), (_, group) in zip(report.SUMMARY.values(), panels):
        assert not systems or {row.system for row in group} == set(systems)
    assert (figures / "summary.svg").exists()
    assert "](tests/bench/figures/summary.svg)" in (Path(__file__).parents[2] / "README.md").read_text()
