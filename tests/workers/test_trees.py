# SPDX-License-Identifier: GPL-2.0-or-later
"""Points in the tree store: changes, patches, differences and work trees."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kernel_series.errors import PatchUnreadable
from kernel_series.run import Ran
from kernel_series.tree import Change
from workers import process
from workers.cache import locked
from workers.errors import InfrastructureError
from workers.trees import WORK_TREES, ApplyFailure, Difference, TreeStore

NUMBERS = "".join(f"{number}\n" for number in range(1, 21))

BASE = {
    "Makefile": b"all:\n",
    "kernel/kprobes.c": NUMBERS.encode(),
    "kernel/trace.c": NUMBERS.encode(),
    "scripts/run.sh": b"#!/bin/sh\n",
}

Listing = dict[str, tuple[str, bytes]]


def based(store: TreeStore, links: Mapping[str, str]) -> str:
    """Return a small tree with a program and symbolic links; no commit of the store's making."""
    index = store.path / "test-index"
    entries = []
    targets = {path: target.encode() for path, target in links.items()}
    for path, content in {**BASE, **targets}.items():
        blob = store.git(["hash-object", "-w", "--stdin"], stdin=content).stdout.decode().strip()
        mode = "120000" if path in links else "100755" if path.endswith(".sh") else "100644"
        entries.append(f"{mode} {blob}\t{path}\n")
    store.git(["update-index", "--index-info"], stdin="".join(entries).encode(), index=index)
    tree = store.git(["write-tree"], index=index).stdout.decode().strip()
    return store.git(["commit-tree", tree], stdin=b"base").stdout.decode().strip()


@pytest.fixture
def base(store: TreeStore) -> str:
    return based(store, {"scripts/link": "run.sh"})


@pytest.fixture
def listing(store: TreeStore) -> Callable[[str], Listing]:
    """All files of a commit: mode and content by path."""

    def look(commit: str) -> Listing:
        found = {}
        for line in store.git(["ls-tree", "-r", "-z", commit]).stdout.decode().split("\0")[:-1]:
            about, _, path = line.partition("\t")
            mode, _, blob = about.split()
            found[path] = (mode, store.git(["cat-file", "blob", blob]).stdout)
        return found

    return look


# changes


def test_a_change_adds_rewrites_and_deletes_and_keeps_modes(
    store: TreeStore, base: str, listing: Callable[[str], Listing]
) -> None:
    change = Change(
        {
            "scripts/run.sh": b"#!/bin/sh\nexit 1\n",
            "kernel/opt.c": b"int x;\n",
            "arch/x86/new,file.c": b"\xff\0\n",
            "kernel/trace.c": None,
        }
    )
    made = store.commit_change(base, change, "subject\n\nmessage\n")
    before, after = listing(base), listing(made)
    assert after == {
        "Makefile": before["Makefile"],
        "kernel/kprobes.c": before["kernel/kprobes.c"],
        "kernel/opt.c": ("100644", b"int x;\n"),
        "arch/x86/new,file.c": ("100644", b"\xff\0\n"),
        "scripts/run.sh": ("100755", b"#!/bin/sh\nexit 1\n"),
        "scripts/link": ("120000", b"run.sh"),
    }
    said = store.git(["show", "-s", "--format=%P%n%an%n%ct%n%B", made]).stdout.decode()
    assert said.split("\n")[:6] == [base, "farm", "1577836800", "subject", "", "message"]


def test_a_file_may_take_the_place_of_a_folder_and_the_other_way_round(
    store: TreeStore, base: str, listing: Callable[[str], Listing]
) -> None:
    file = store.commit_change(
        base,
        Change({"kernel": b"a file\n", "kernel/kprobes.c": None, "kernel/trace.c": None}),
        "file",
    )
    assert listing(file)["kernel"] == ("100644", b"a file\n")
    folder = store.commit_change(file, Change({"kernel": None, "kernel/x.c": b"x\n"}), "folder")
    assert "kernel" not in listing(folder)
    assert listing(folder)["kernel/x.c"] == ("100644", b"x\n")


def test_the_same_change_is_the_same_commit(store: TreeStore, base: str, tmp_path: Path) -> None:
    change = Change({"kernel/opt.c": b"int x;\n"})
    commits = {store.commit_change(base, change, "subject") for _ in range(2)}
    assert len(commits) == 1


def test_neither_the_users_settings_nor_his_name_enter(
    store: TreeStore, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Change({"kernel/opt.c": b"int x;\r\n"})
    plain = store.commit_change(base, change, "subject")
    (tmp_path / ".gitconfig").write_text("[i18n]\ncommitEncoding = latin1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "i18n.commitEncoding")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "latin1")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    # As in a hook of another repository.
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert store.commit_change(base, change, "subject") == plain


# patches

HEADER = "diff --git a/{0} b/{0}\n"
CHANGED = """\
--- a/{0}
+++ b/{0}
@@ -4,3 +4,4 @@
 4
-5
+five
+and a half
 6
"""


def patched(store: TreeStore, base: str, text: str) -> str:
    made = store.commit_patch(base, text.encode(), "subject")
    assert isinstance(made, str), made
    return made


def test_a_patch_changes_what_it_says(
    store: TreeStore, base: str, listing: Callable[[str], Listing]
) -> None:
    path = "kernel/kprobes.c"
    made = patched(store, base, (HEADER + CHANGED).format(path))
    expected = NUMBERS.replace("5\n", "five\nand a half\n", 1)
    assert listing(made) == {**listing(base), path: ("100644", expected.encode())}
    assert store.git(["rev-parse", f"{made}^"]).stdout.decode().strip() == base


def test_a_plain_diff_is_taken_and_its_place_may_have_moved(store: TreeStore, base: str) -> None:
    content = b"a line more\n" * 9 + NUMBERS.encode()
    moved = store.commit_change(base, Change({"kernel/kprobes.c": content}), "moved")
    made = patched(store, moved, CHANGED.format("kernel/kprobes.c"))
    assert b"five\n" in (store.read(made, "kernel/kprobes.c") or b"")


def test_there_is_no_fuzz(store: TreeStore, base: str) -> None:
    wrong = (HEADER + CHANGED).format("kernel/kprobes.c").replace(" 4\n", " four\n")
    made = store.commit_patch(base, wrong.encode(), "subject")
    assert made == ApplyFailure(
        "kernel/kprobes.c", 4, "the hunk at this line does not match the tree"
    )
    assert str(made) == "kernel/kprobes.c:4: the hunk at this line does not match the tree"


NEW = """\
diff --git a/{0} b/{0}
new file mode {1}
--- /dev/null
+++ b/{0}
@@ -0,0 +1 @@
+new
"""

DELETED = (
    "diff --git a/kernel/trace.c b/kernel/trace.c\ndeleted file mode 100644\n"
    "--- a/kernel/trace.c\n+++ /dev/null\n@@ -1,20 +0,0 @@\n"
    + "".join(f"-{line}\n" for line in NUMBERS.split())
)

RENAMED = """\
diff --git a/kernel/trace.c b/kernel/trace/trace.c
similarity index 100%
rename from kernel/trace.c
rename to kernel/trace/trace.c
"""

MODE = "diff --git a/Makefile b/Makefile\nold mode 100644\nnew mode 100755\n"

# `git diff --binary` of a new file that holds 00 01 02 ff.
BINARY = """\
diff --git a/firmware.bin b/firmware.bin
new file mode 100644
index 0000000000000000000000000000000000000000..f971a5e28b6c4cb237ca3c7349e33bb600dbc907
GIT binary patch
literal 4
LcmZQzWcm*P0SW;F

literal 0
HcmV?d00001

"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NEW.format("kernel/opt.c", "100644"), {"kernel/opt.c": ("100644", b"new\n")}),
        (NEW.format("scripts/a b.sh", "100755"), {"scripts/a b.sh": ("100755", b"new\n")}),
        (NEW.format("l", "120000"), {"l": ("120000", b"new\n")}),
        (DELETED, {"kernel/trace.c": None}),
        (RENAMED, {"kernel/trace.c": None, "kernel/trace/trace.c": ("100644", NUMBERS.encode())}),
        (MODE, {"Makefile": ("100755", b"all:\n")}),
        (BINARY, {"firmware.bin": ("100644", b"\x00\x01\x02\xff")}),
    ],
)
def test_what_a_patch_can_do(
    text: str,
    expected: Mapping[str, tuple[str, bytes] | None],
    store: TreeStore,
    base: str,
    listing: Callable[[str], Listing],
) -> None:
    found = listing(patched(store, base, text))
    wanted = {**listing(base), **expected}
    assert found == {path: about for path, about in wanted.items() if about is not None}


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ((HEADER + CHANGED).format("kernel/gone.c"), "kernel/gone.c", "does not exist in index"),
        (NEW.format("Makefile", "100644"), "Makefile", "already exists in index"),
        (
            # The first file that refuses is named, though it has no line.
            (HEADER + CHANGED).format("kernel/gone.c") + (HEADER + CHANGED).format("Makefile"),
            "kernel/gone.c",
            "does not exist in index",
        ),
        (NEW.format("../outside.c", "100644"), "patch", "invalid path '../outside.c'"),
        (NEW.format("kernel/../../x", "100644"), "patch", "invalid path 'kernel/../../x'"),
        (NEW.format(".git/hooks/pre-commit", "100755"), "patch", "invalid path"),
        (
            NEW.format("scripts/link/x", "100644"),
            "patch",
            "affected file 'scripts/link/x' is beyond a symbolic link",
        ),
    ],
)
def test_what_does_not_apply_says_why(
    text: str, place: str, reason: str, store: TreeStore, base: str
) -> None:
    made = store.commit_patch(base, text.encode(), "subject")
    assert isinstance(made, ApplyFailure)
    assert (made.file, made.line) == (place, None)
    assert made.reason.startswith(reason)
    assert str(made) == f"{place}: {made.reason}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nothing at all\n", "No valid patches in input"),
        (CHANGED.format("Makefile").replace("4,4", "4,9"), "corrupt patch at line 9"),
    ],
)
def test_what_is_no_patch_is_bad_input(text: str, reason: str, store: TreeStore, base: str) -> None:
    with pytest.raises(PatchUnreadable, match=f'patch "subject": {reason}'):
        store.commit_patch(base, text.encode(), "subject")


def test_an_absolute_path_stays_in_the_tree(
    store: TreeStore, base: str, tmp_path: Path, listing: Callable[[str], Listing]
) -> None:
    target = tmp_path / "target"
    store.commit_patch(base, NEW.format(target, "100644").encode(), "subject")
    assert not target.exists()


def test_a_half_of_a_patch_is_not_applied(store: TreeStore, base: str) -> None:
    text = NEW.format("kernel/opt.c", "100644") + (HEADER + CHANGED).format("Makefile")
    assert isinstance(store.commit_patch(base, text.encode(), "subject"), ApplyFailure)
    good = patched(store, base, NEW.format("kernel/x.c", "100644"))
    assert store.read(good, "kernel/opt.c") is None


# symbolic links

END = "\n\\ No newline at end of file\n"
TO_ETC = f"--- a/scripts/link\n+++ b/scripts/link\n@@ -1 +1 @@\n-run.sh{END}+/etc{END}"


def linked(path: str, target: str) -> str:
    """Return a patch that makes a link."""
    return NEW.format(path, "120000").replace("+new\n", f"+{target}{END}")


def moved(old: str, new: str) -> str:
    names = f"rename from {old}\nrename to {new}\n"
    return f"diff --git a/{old} b/{new}\nsimilarity index 100%\n{names}"


@pytest.mark.parametrize(
    ("links", "text", "path", "target"),
    [
        ({}, linked("l", "/etc"), "l", "/etc"),
        ({}, linked("a/l", "../../x"), "a/l", "../../x"),
        # Its text does not say that it is a link.
        (
            {"scripts/link": "run.sh"},
            HEADER.format("scripts/link") + TO_ETC,
            "scripts/link",
            "/etc",
        ),
        ({"scripts/link": "run.sh"}, TO_ETC, "scripts/link", "/etc"),
        ({"a/b/l": "../../x"}, moved("a/b/l", "a/l"), "a/l", "../../x"),
        ({"a/b/top": "../.."}, linked("a/b/l", "top/../x"), "a/b/l", "top/../x"),
        # One that stays as it is, behind another that comes, changes, goes.
        ({"a/l": "b/../../x"}, linked("a/b", ".."), "a/l", "b/../../x"),
        ({"l": "m/../../x", "m": "a/b"}, moved("m", "n"), "l", "m/../../x"),
    ],
)
def test_a_link_out_of_the_tree_is_refused_however_it_comes(
    links: Mapping[str, str], text: str, path: str, target: str, store: TreeStore
) -> None:
    with pytest.raises(PatchUnreadable) as caught:
        store.commit_patch(based(store, links), text.encode(), "subject\n\nmessage\n")
    assert str(caught.value) == (
        f'patch "subject": "{path}" would be a symbolic link out of the tree, to "{target}"; '
        "a link has to end inside the tree, on the way through other links too"
    )


def test_a_recipe_makes_no_link_out_of_the_tree_either(store: TreeStore, base: str) -> None:
    with pytest.raises(PatchUnreadable, match='patch "subject": "scripts/link" would be a symbol'):
        store.commit_change(base, Change({"scripts/link": b"/etc"}), "subject\n")
    store.commit_change(base, Change({"scripts/link": b"../Makefile"}), "subject\n")


def test_links_that_the_base_brought_are_not_the_patchs_fault(store: TreeStore) -> None:
    before = based(store, {"far": "/etc", "l": "x"})
    made = patched(store, before, moved("l", "m") + linked("n", "kernel/../m"))
    with pytest.raises(PatchUnreadable, match='"a/far" would be a symbolic link out of the tree'):
        store.commit_patch(made, moved("far", "a/far").encode(), "subject")


# reading


def test_what_is_not_there_is_none(store: TreeStore, base: str) -> None:
    assert store.read(base, "Makefile") == b"all:\n"
    assert store.read(base, "Kconfig") is None
    assert store.read(base, "kernel") is None
    assert store.resolve("refs/heads/main") is None
    assert store.resolve("--help") is None


def test_a_kept_commit_is_found_by_its_name(store: TreeStore, base: str) -> None:
    store.keep("runs/20261123-abcdef/0", base)
    assert store.resolve("refs/runs/20261123-abcdef/0") == base
    again = TreeStore(store.path)
    assert again.resolve("refs/runs/20261123-abcdef/0") == base


def test_trouble_of_the_store_is_the_hosts(store: TreeStore) -> None:
    missing = "1" * 40
    with pytest.raises(InfrastructureError, match=r"tree store .*: git rev-parse"):
        store.tree(missing)
    with pytest.raises(InfrastructureError, match="no difference of"):
        store.differences(missing, missing)


# differences


def test_differences_name_files_and_added_lines(store: TreeStore, base: str) -> None:
    lines = NUMBERS.splitlines(keepends=True)
    lines[0:1] = ["one\n", "more\n"]
    del lines[5:7]
    lines.append("@@ -1 +7 @@\n")
    lines.append("++ b/evil\n")
    change = Change(
        {
            "kernel/kprobes.c": "".join(lines).encode(),
            "kernel/opt.c": b"1\n2\n3",
            "kernel/trace.c": None,
            "Documentation/ü b/x.rst": b"\n",
            "firmware.bin": b"\0",
            "scripts/run.sh": b"",
        }
    )
    made = store.commit_change(base, change, "subject")
    assert set(store.differences(base, made)) == {
        Difference("kernel/kprobes.c", (1, 2, 20, 21), (5,)),
        Difference("kernel/opt.c", (1, 2, 3)),
        Difference("kernel/trace.c", (), (0,)),
        Difference("Documentation/ü b/x.rst", (1,)),
        Difference("firmware.bin", ()),
        Difference("scripts/run.sh", (), (0,)),
    }
    assert store.differences(made, made) == ()


@pytest.mark.parametrize(
    ("gone", "cut"),
    [
        (["kfree(p);\n"], (1,)),
        (["/* why */\n", "kfree(p);\n", "\n"], (1,)),
        (["--p;\n", "@@ -1 +7 @@\n"], (1,)),
        (["/* why */\n", " * not\n", "\n", "// so\n"], ()),
        (["#ifdef CONFIG_SMP\n", "kfree(p);\n", "#endif\n"], ()),
        (["kfree(p);\n", "  # else\n"], ()),
    ],
)
def test_differences_name_where_code_was_taken_away(
    gone: list[str], cut: tuple[int, ...], store: TreeStore, base: str
) -> None:
    texts = ["".join(["first\n", *lines, "last\n"]).encode() for lines in (gone, [])]
    old, new = (store.commit_change(base, Change({"kernel/x.c": one}), "s") for one in texts)
    assert store.differences(old, new) == (Difference("kernel/x.c", (), cut),)


def test_a_change_of_mode_is_a_difference(store: TreeStore, base: str) -> None:
    made = patched(store, base, MODE)
    assert store.differences(base, made) == (Difference("Makefile", ()),)


# work trees

OLD = 0


def files(folder: Path) -> dict[str, tuple[bytes, float, bool]]:
    """Content, modification time and executable bit of files; a link's content is its target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        else:
            continue
        about = path.lstat()
        name = str(path.relative_to(folder))
        found[name] = (content, about.st_mtime, bool(about.st_mode & 0o100))
    return found


def test_a_new_work_tree_has_old_times(store: TreeStore, base: str, tmp_path: Path) -> None:
    folder = tmp_path / "lane" / "src"
    store.lay_out(base, folder, None)
    expected = {path: (content, OLD, path.endswith(".sh")) for path, content in BASE.items()}
    expected["scripts/link"] = (b"run.sh", OLD, True)
    assert files(folder) == expected


def test_the_next_point_touches_only_what_differs(
    store: TreeStore, base: str, tmp_path: Path
) -> None:
    folder = tmp_path / "src"
    change = Change(
        {"kernel/kprobes.c": b"new\n", "kernel/trace.c": None, "arch/x86/opt.c": b"opt\n"}
    )
    made = store.commit_change(base, change, "subject")
    store.lay_out(base, folder, None)
    before = files(folder)
    store.lay_out(made, folder, base)
    after = files(folder)
    touched = {path for path, about in after.items() if before.get(path) != about}
    assert touched == {"kernel/kprobes.c", "arch/x86/opt.c"}
    assert all(after[path][1] > OLD for path in touched)
    assert set(before) - set(after) == {"kernel/trace.c"}

    store.lay_out(base, folder, made)
    back = files(folder)
    assert {path: about[0] for path, about in back.items()} == {
        path: about[0] for path, about in before.items()
    }
    assert not (folder / "arch").exists()
    assert back["Makefile"][1] == OLD
    assert back["kernel/kprobes.c"][1] > OLD  # newer than any object made of the other point


def test_a_work_tree_that_was_moved_on_is_like_a_new_one(
    store: TreeStore, base: str, tmp_path: Path
) -> None:
    link, script = NEW.format("kernel/trace.c", "120000"), NEW.format("Kconfig", "100755")
    gone = Change({"kernel/trace.c": None, "scripts": None})
    made = patched(store, store.commit_change(base, gone, "subject"), link + script)
    change = Change(
        {
            "Makefile": None,
            "Makefile/in a folder": b"no newline",
            "kernel/kprobes.c": b"a\r\nb\r\n",
            "firmware.bin": bytes(range(256)),
            'Documentation/"\u00fc".rst': b"x\n",
            "empty": b"",
        }
    )
    points = [base, made, store.commit_change(made, change, "subject"), base]
    moved = tmp_path / "moved"
    store.lay_out(points[0], moved, None)
    for number, (current, commit) in enumerate(itertools.pairwise(points)):
        store.lay_out(commit, moved, current)
        new = tmp_path / str(number)
        store.lay_out(commit, new, None)
        expected = [(path, content, mode) for path, (content, _, mode) in files(new).items()]
        assert [(path, content, mode) for path, (content, _, mode) in files(moved).items()] == (
            expected
        )
        assert {path for path in moved.rglob("*") if path.is_dir()} == {
            moved / path.relative_to(new) for path in new.rglob("*") if path.is_dir()
        }


def test_a_work_tree_that_is_not_what_it_should_be_is_not_moved_on(
    store: TreeStore, base: str, tmp_path: Path
) -> None:
    folder = tmp_path / "src"
    made = store.commit_change(base, Change({"kernel/kprobes.c": b"new\n"}), "subject")
    store.lay_out(base, folder, None)
    (folder / "kernel" / "kprobes.c").write_text("something else\n")
    with pytest.raises(InfrastructureError, match=r"git apply: .* kernel/kprobes\.c:1"):
        store.lay_out(made, folder, base)


def test_work_trees_share_what_none_of_them_changed(
    store: TreeStore, base: str, tmp_path: Path
) -> None:
    folders = [tmp_path / name / "src" for name in ("one", "other")]
    for folder in folders:
        store.lay_out(base, folder, None, shared=True)
    one, other = folders
    expected = files(one)
    assert {about[1] for about in expected.values()} == {OLD}
    assert files(other) == expected
    assert (one / "Makefile").samefile(other / "Makefile")

    made = store.commit_change(base, Change({"kernel/kprobes.c": b"new\n", "Makefile": None}), "s")
    store.lay_out(made, one, base)
    assert (one / "kernel" / "kprobes.c").read_bytes() == b"new\n"
    assert not (one / "Makefile").exists()
    store.lay_out(base, one, made)
    assert {path: about[0] for path, about in files(one).items()} == BASE | {
        "scripts/link": b"run.sh"
    }
    assert files(other) == expected
    store.lay_out(patched(store, base, MODE), one, base)
    assert files(one)["Makefile"][2]
    assert files(other) == expected
    store.lay_out(base, tmp_path / "third", None, shared=True)
    assert files(tmp_path / "third") == expected


def test_a_shared_work_tree_that_a_kill_left_half_made_is_made_anew(
    store: TreeStore, base: str, tmp_path: Path
) -> None:
    half = store.path.parent / WORK_TREES / f"{base}.making" / "src"
    half.mkdir(parents=True)
    (half / "Makefile").write_text("half")
    store.lay_out(base, tmp_path / "src", None, shared=True)
    assert (tmp_path / "src" / "Makefile").read_bytes() == BASE["Makefile"]
    assert not half.parent.exists()


def test_what_kills_left_is_swept_but_not_what_somebody_makes(
    store: TreeStore, base: str, tmp_path: Path
) -> None:
    work_trees = store.path.parent / WORK_TREES
    packs = store.path / "objects" / "pack"
    for name in ("left", "held"):
        (work_trees / f"{name}.making" / "src").mkdir(parents=True)
        (packs / f"tmp_pack_{name}").touch()
    os.utime(packs / "tmp_pack_left", (0, 0))
    store.lay_out(base, tmp_path / "src", None, shared=True)
    with locked(work_trees / "held.lock"):
        store.sweep()
    folders = {path.name for path in work_trees.iterdir() if path.is_dir()}
    assert folders == {base, "held.making"}
    assert [path.name for path in packs.glob("tmp_*")] == ["tmp_pack_held"]


def test_where_nothing_can_be_linked_a_work_tree_has_files_of_its_own(
    store: TreeStore, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.lay_out(base, tmp_path / "first", None, shared=True)
    monkeypatch.setattr(process, "run", failing("cp", process.run))
    store.lay_out(base, tmp_path / "src", None, shared=True)
    assert files(tmp_path / "src") == files(tmp_path / "first")
    assert not (tmp_path / "src" / "Makefile").samefile(tmp_path / "first" / "Makefile")


def failing(program: str, run: Callable[..., Ran]) -> Callable[..., Ran]:
    """Return ``run`` with one program that always fails."""

    def ran(argv: Sequence[str], **how: Any) -> Ran:
        return Ran(1, b"", b"another disk") if argv[0] == program else run(argv, **how)

    return ran


def test_a_hostile_link_is_laid_out_and_not_followed(store: TreeStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("old\n")
    secret_time = secret.stat().st_mtime
    made = based(store, {"link": str(secret)})
    folder = tmp_path / "src"
    store.lay_out(made, folder, None)
    assert (folder / "link").readlink() == secret
    gone = "diff --git a/link b/link\ndeleted file mode 120000\n--- a/link\n+++ /dev/null\n"
    gone += f"@@ -1 +0,0 @@\n-{secret}\n\\ No newline at end of file\n"
    overwritten = patched(store, made, gone + NEW.format("link", "100644"))
    store.lay_out(overwritten, folder, made)
    assert (folder / "link").read_text() == "new\n"
    assert (secret.read_text(), secret.stat().st_mtime) == ("old\n", secret_time)
