# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a diff: what it touches, and what is refused before git sees it."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_series import difftext
from kernel_series.difftext import FileDiff, Hunk, first_diff_line, read_diff
from kernel_series.errors import PatchUnreadable

HUNK = "@@ -1,3 +1,4 @@ int f(void)\n a\n-b\n+c\n+d\n e\n"
GIT = (
    "diff --git a/kernel/kprobes.c b/kernel/kprobes.c\nindex 1234567..89abcde 100644\n"
    f"--- a/kernel/kprobes.c\n+++ b/kernel/kprobes.c\n{HUNK}"
)
NEW = (
    "diff --git a/opt.c b/opt.c\nnew file mode 100644\nindex 0000000..89abcde\n"
    "--- /dev/null\n+++ b/opt.c\n@@ -0,0 +1,2 @@\n+a\n+b\n"
)
GONE = (
    "diff --git a/opt.c b/opt.c\ndeleted file mode 100644\nindex 89abcde..0000000\n"
    "--- a/opt.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n\\ No newline at end of file\n"
)
MOVED = (
    "diff --git a/old name.c b/new.c\nsimilarity index 90%\nrename from old name.c\n"
    "rename to new.c\nindex 1234567..89abcde 100644\n--- a/old name.c\t\n+++ b/new.c\n"
    "@@ -1 +1 @@\n-a\n+b\n"
)
BINARY = (
    "diff --git a/logo.gif b/logo.gif\nindex 1234567..89abcde 100644\nGIT binary patch\n"
    "literal 5\nMcmZQzWMT#Y01f~L\n\nliteral 3\nKcmZQzWMT#Y01f~L\n\n"
)
PLAIN = (
    "--- linux.orig/kernel/kprobes.c\t2010-01-22 10:00:00\n"
    f"+++ linux/kernel/kprobes.c\t2010\n{HUNK}"
)
ONE = (Hunk(1, 3, 1, 4),)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (GIT, [FileDiff("kernel/kprobes.c", "kernel/kprobes.c", ONE)]),
        (PLAIN, [FileDiff("kernel/kprobes.c", "kernel/kprobes.c", ONE)]),
        (NEW, [FileDiff(None, "opt.c", (Hunk(0, 0, 1, 2),))]),
        (GONE, [FileDiff("opt.c", None, (Hunk(1, 1, 0, 0),))]),
        (MOVED, [FileDiff("old name.c", "new.c", (Hunk(1, 1, 1, 1),))]),
        (BINARY + GIT, [FileDiff("logo.gif", "logo.gif", (), binary=True),
                        FileDiff("kernel/kprobes.c", "kernel/kprobes.c", ONE)]),
        ("diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n",
         [FileDiff("run.sh", "run.sh")]),
        ("diff --git a/empty file b/empty file\nnew file mode 100644\nindex 0000000..e69de29\n",
         [FileDiff(None, "empty file")]),
        ('diff --git "a/caf\\303\\251" "b/caf\\303\\251"\nold mode 100644\nnew mode 100755\n',
         [FileDiff("café", "café")]),
        (GIT + "-- \n2.39.5\n\n" + NEW, [FileDiff("kernel/kprobes.c", "kernel/kprobes.c", ONE),
                                        FileDiff(None, "opt.c", (Hunk(0, 0, 1, 2),))]),
        (GIT + HUNK.replace("1,", "9,"), [FileDiff("kernel/kprobes.c", "kernel/kprobes.c",
                                                   (*ONE, Hunk(9, 3, 9, 4)))]),
        (GIT.replace("\n a\n", "\n\n"), [FileDiff("kernel/kprobes.c", "kernel/kprobes.c", ONE)]),
        ("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/d/l\n@@ -0,0 +1 @@\n"
         "+../x/../y\n\\ No newline at end of file\n",
         [FileDiff(None, "d/l", (Hunk(0, 0, 1, 1),))]),
    ],
)  # fmt: skip
def test_reads(text: str, wanted: list[FileDiff]) -> None:
    assert list(read_diff(text.encode(), "p")) == wanted


LINK = (
    "diff --git a/d/l b/d/l\nnew file mode 120000\n--- /dev/null\n+++ b/d/l\n@@ -0,0 +1 @@\n+{}\n"
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "p: no diff in it; wanted a unified diff, as git diff makes it"),
        ("just words\n--- \n", "p: no diff in it; wanted a unified diff, as git diff makes it"),
        (GIT.replace("kernel/", "../"), 'p: line 3 of the patch: path "../kprobes.c" leaves the '
         'tree; '
         "name a file inside the source tree"),
        (GIT.replace("b/kernel/", "/etc/"), 'p: line 3 of the patch: path "/etc/kprobes.c" is '
         'absolute;'
         " name a file inside the source tree"),
        (GIT.replace("kernel/", ".git/"), 'p: line 3 of the patch: path ".git/kprobes.c" points '
         'into '
         ".git; name a file inside the source tree"),
        (PLAIN.replace("linux/kernel/kprobes.c", "kprobes.c"), 'p: line 1 of the patch: '
         '"kprobes.c" has '
         "no leading part to strip; make it with -p1"),
        (MOVED.replace("old name.c", "../x"), 'p: line 3 of the patch: path "../x" leaves the '
         'tree; '
         "name a file inside the source tree"),
        (LINK.format("/etc/passwd"), 'p: line 6 of the patch: "d/l" would be a symbolic link '
         'out of '
         "the tree"),
        (LINK.format("x/../../.."), 'p: line 6 of the patch: "d/l" would be a symbolic link out of '
         "the tree"),
        (BINARY.replace("index 1234567..89abcde 100644", "new file mode 120000"),
         "p: line 10 of the patch: makes a symbolic link from binary data"),
        (NEW.replace("100644", "160000"), "p: line 4 of the patch: changes a submodule, which a "
         "kernel "
         "tree has not"),
        ("diff --git a/x b/x\nindex 1..2 100644\nBinary files a/x and b/x differ\n",
         "p: line 3 of the patch: a binary file without its content; make the diff with --binary"),
        (GIT.replace("+d\n e\n", ""), "p: line 9 of the patch: the hunk ends too early: "
         "a damaged or line-wrapped patch"),
        (GIT.replace("-b\n", "wrapped\n-b\n"), "p: line 7 of the patch: the hunk ends too early: "
         "a damaged or line-wrapped patch"),
        (GIT.replace("1,3 +1,4", "1,3 +1,2"), "p: line 11 of the patch: the hunk has more lines "
         "than "
         "it says: a damaged patch"),
        (HUNK, "p: line 1 of the patch: a hunk without a file name above it"),
        ("diff --git a/x b/y\nold mode 100644\nnew mode 100755\n",
         'p: line 4 of the patch: cannot tell the file name in "a/x b/y"'),
        ('diff --git "a/x b/y\nold mode 100644\nnew mode 100755\n',
         "p: line 4 of the patch: a quoted file name does not end"),
    ],
)  # fmt: skip
def test_refuses(text: str, wanted: str) -> None:
    with pytest.raises(PatchUnreadable) as caught:
        read_diff(text.encode(), "p")
    assert str(caught.value) == wanted


def test_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difftext, "LARGEST_PATCH", 100)
    with pytest.raises(PatchUnreadable, match="the patch is larger than"):
        read_diff(GIT.encode(), "p")


def test_first_diff_line() -> None:
    for text in (GIT, PLAIN):
        words = "text\n --- a/x | 2 +-\n---\n"
        assert first_diff_line((words + text).encode()) == len(words)
    assert first_diff_line(b"--- not a diff\n+++ neither\n") is None


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_damage_is_refused_or_read(data: st.DataObject) -> None:
    text = "".join(
        data.draw(st.lists(st.sampled_from([GIT, NEW, GONE, MOVED, BINARY, PLAIN]), max_size=3))
    )
    lines = text.split("\n")
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = data.draw(st.one_of(st.sampled_from(lines), st.text(max_size=30)))
    check_only_refused("\n".join(lines).encode("utf-8", "surrogatepass"))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    check_only_refused(data)
    check_only_refused(b"diff --git " + data)
    check_only_refused(b"--- a/x\n+++ b/x\n@@ -" + data)


def check_only_refused(data: bytes) -> None:
    try:
        files = read_diff(data, "p")
    except PatchUnreadable as error:
        refusal = str(error)
        files = ()
    else:
        refusal = ""
    assert refusal.isprintable()
    for file in files:
        assert file.path
        assert not file.path.startswith("/")
        assert ".." not in file.path.split("/")


@settings(max_examples=25, deadline=None)
@given(
    before=st.lists(st.sampled_from(["a", "b", "", " ", "-", "+++ x", "@@ -1 +1 @@"]), max_size=12),
    after=st.lists(st.sampled_from(["a", "b", "", " ", "-", "--- x", "@@ -1 +1 @@"]), max_size=12),
)
def test_reads_what_git_writes(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], after: list[str]
) -> None:
    """The hunks that we see are the hunks that git counts."""
    folder: Path = tmp_path_factory.mktemp("diff")
    (folder / "old").write_text("\n".join(before))
    (folder / "new").write_text("\n".join(after))
    argv = ["git", "diff", "--no-index", "--no-color", "--", "old", "new"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, check=False)
    if not done.stdout:
        return
    [file] = read_diff(done.stdout, "p")
    counted = subprocess.run(
        [*argv[:3], "--numstat", *argv[3:]], cwd=folder, capture_output=True, text=True, check=False
    )
    added, removed, *_ = map(int, counted.stdout.split()[:2])
    assert sum(h.new_lines - h.old_lines for h in file.hunks) == added - removed
