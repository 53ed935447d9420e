# SPDX-License-Identifier: GPL-2.0-or-later
"""checkpatch is the tree's own, and hostile: what it says is read, what it does stays inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workers import checks
from workers.checks import checked
from workers.errors import Cancelled
from workers.process import Cancel, Limits
from workers.tags import Remark

if TYPE_CHECKING:
    from tests.workers.conftest import Bench

TWO = """\
#!/usr/bin/perl
# knows --show-types
die "words: @ARGV" unless "@ARGV" =~ /--no-tree .*--no-signoff .*--show-types .*patch$/;
open my $patch, '<', $ARGV[-1] or die;
while (<$patch>) { print "-:$.: WARNING:SPACING: $_" if /^\\+.*;;/ }
print "$ARGV[-1]:7: ERROR:CODE_INDENT: use \\e[1mtabs\\n";
exit 1;
"""

Check = Callable[..., list[Remark]]


@pytest.fixture
def check(bench: Bench) -> Check:
    """Checks a patch in a tree with a checkpatch of the test's; returns what that says."""

    def run(script: str | None, cancel: Cancel | None = None) -> list[Remark]:
        if script is not None:
            bench.kernel.commit("scripts: Check", {"scripts/checkpatch.pl": script})
        bench.kernel.append("kprobes: Do it", "kernel/kprobes.c", "int x;;\n")
        bench.prepare()
        builder = bench.builder
        done = cancel or Cancel()
        points = checked(bench.points, builder.store, builder.sandbox, None, done)
        assert points[0].remarks is None
        assert [replace(one, remarks=None) for one in points] == list(bench.points)
        return [one for one in points[-1].remarks or () if one.tool == "checkpatch"]

    return run


def test_what_it_says_is_read(check: Check) -> None:
    assert check(TWO) == [
        Remark("checkpatch", "warning", "SPACING", 14, "+int x;;"),
        Remark("checkpatch", "error", "CODE_INDENT", 7, "use \x1b[1mtabs"),
    ]


def test_an_old_one_names_no_types(check: Check) -> None:
    old = TWO.replace("show-types", "nothing").replace(" .*--nothing", "")
    old = old.replace(":SPACING", "").replace(":CODE_INDENT", "")
    assert [(one.kind, one.line) for one in check(old)] == [("", 14), ("", 7)]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "the tree has no scripts/checkpatch.pl"),
        ("no perl at all\n", "checkpatch ended with status 2: BEGIN failed"),
        ("print 'nothing to say'; exit 1;\n", "ended with status 1: nothing to say"),
        ("exit 1;\n", "ended with status 1: it said nothing"),
        ("kill 9, $$;\n", "checkpatch ended with status "),
        ("print 'x' x 65536 while 1;\n", "checkpatch ended with status "),
    ],
)
def test_one_that_does_not_work_says_so(check: Check, script: str | None, why: str) -> None:
    (remark,) = check(script)
    assert remark.level == "missing"
    assert why in remark.text


def test_lines_that_say_nothing_are_passed_over(check: Check) -> None:
    """Would each of them be held against all that follow, this would take an hour and more."""
    script = 'print "x\\n" x 1000000, "x: no line\\n-:3: ERROR: the end\\n"; exit 1;\n'
    assert [one.text for one in check(script)] == ["the end"]


def test_one_that_never_ends_is_ended(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LIMITS", Limits(seconds=0.0))
    (remark,) = check("1 while 1;\n")
    assert "checkpatch did not end within" in remark.text


def test_it_can_be_cancelled(check: Check) -> None:
    cancel = Cancel()
    cancel.request("enough")
    with pytest.raises(Cancelled):
        check("1 while 1;\n", cancel)


def test_it_is_contained(check: Check, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    script = f"""\
print "-:1: ERROR: sees the host\\n" if -e "{tmp_path}/secret" || -e "/etc/passwd";
print "-:2: ERROR: writes\\n" if open my $file, '>', "/src/scripts/spelling.txt";
print "-:3: ERROR: clean\\n"; exit 1;
"""
    assert [one.text for one in check(script)] == ["clean"]


def test_commits_are_looked_for_where_the_history_is(bench: Bench, tmp_path: Path) -> None:
    git = bench.kernel.git
    known, unknown = bench.kernel.base, "0123456789abcdef"
    message = f'kprobes: Do it\n\nFixes: {known} ("One")\nFixes: {unknown} ("Other")'
    bench.kernel.append(message, "kernel/kprobes.c", "int x;\n")
    bench.prepare()
    shallow = tmp_path / "shallow"
    git("clone", "--quiet", "--depth=1", f"file://{bench.kernel.folder}", shallow)
    found = {}
    for history in (bench.kernel.folder, shallow, tmp_path, None):
        builder = bench.builder
        points = checked(bench.points, builder.store, builder.sandbox, history, Cancel())
        found[history] = [one.kind for one in points[1].remarks or () if "fixes" in one.kind]
    assert found.pop(bench.kernel.folder) == ["fixes-unknown"]
    assert list(found.values()) == [[], [], []]
