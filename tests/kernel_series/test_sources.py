# SPDX-License-Identifier: GPL-2.0-or-later
"""Patch sources on files and repositories: order, what is left out, what is refused by name."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kernel_series import sources
from kernel_series.content import Content, Patch
from kernel_series.errors import PatchUnreadable, SeriesError
from kernel_series.manifest import load
from kernel_series.run import Ran, Run
from kernel_series.series import read_series
from kernel_series.sources import Request, directory
from kernel_series.tree import Change

Fill = Callable[..., Path]
Read = Callable[..., Content]


def diff(number: int) -> str:
    return f"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-{number - 1}\n+{number}\n"


def mail(tag: str, number: int, body: str | None = None, subject: str = "change") -> str:
    body = f"Message {number}.\n---\n{diff(number)}" if body is None else body
    headers = f"Subject: {tag} {subject} {number}\nMessage-Id: <{number}{tag[-4:-1]}@x>\n"
    return f"From: A <a@x>\n{headers}\n{body}\n"


def box(*mails: str) -> str:
    return "\n".join(f"From m@x Thu Jan  1 00:00:00 1970\n{one}" for one in mails)


PATCHES = [mail(f"[PATCH v2 {n}/3]", n) for n in (1, 2, 3)]
COVER = mail("[PATCH v2 0/3]", 0, "What it is about.\n\n f | 2 +-\n")
REPLY = mail("Re: [PATCH v2 2/3]", 2, "> - x\n\nLooks good.\n")
REPLY_DIFF = mail("Re: [PATCH v2 2/3]", 2, "Better so:\n" + diff(2))


@pytest.fixture
def read(fill: Fill, run: Run) -> Read:
    def read_files(source: str, files: dict[str, str], path: str, **options: object) -> Content:
        place = f"series.yml:5: patches.{source}"
        folder = fill(files)
        return sources.read(source, Request(path, place, run, folder / path, **options))  # type: ignore[arg-type]

    return read_files


def refusal(read: Read, *arguments: object, **options: object) -> str:
    with pytest.raises(SeriesError) as caught:
        read(*arguments, **options)
    assert str(caught.value).isprintable()
    return str(caught.value).removeprefix("series.yml:5: patches.")


def subjects(content: Content) -> list[str]:
    assert content.base == Change()
    return [patch.subject for patch in content.patches]


THREE = ["change 1", "change 2", "change 3"]


def test_known_sources() -> None:
    assert sources.known() == ("derive", "directory", "edits", "git-range", "mbox")
    with pytest.raises(SeriesError, match="no such patch source; known: derive, directory"):
        sources.names_a_path("os")


class TestMbox:
    @pytest.mark.parametrize(
        "mails",
        [
            PATCHES,
            [PATCHES[2], REPLY, COVER, PATCHES[0], PATCHES[1]],
            [COVER.replace("\n\n", "\n\n" + diff(9), 1), *PATCHES],
        ],
    )
    def test_order_is_by_number(self, read: Read, mails: list[str]) -> None:
        content = read("mbox", {"b": box(*mails)}, "b")
        assert subjects(content) == THREE
        assert content.patches[1].message == "Message 2."
        assert content.patches[1].origin == "series.yml:5: patches.mbox: 22/3@x"
        assert content.notes == ()

    def test_a_single_patch_needs_no_number(self, read: Read) -> None:
        assert subjects(read("mbox", {"b": mail("[PATCH]", 1)}, "b")) == ["change 1"]

    def test_a_reply_is_no_patch_and_is_noted(self, read: Read) -> None:
        content = read("mbox", {"b": box(*PATCHES, REPLY_DIFF)}, "b")
        assert subjects(content) == THREE
        assert content.notes == ('left out the reply "change 2" <22/3@x>, which holds a diff',)

    def test_the_version_that_is_wanted(self, read: Read) -> None:
        older = [one.replace("v2", "v1").replace("change", "old") for one in PATCHES]
        files = {"b": box(*older, *PATCHES)}
        assert subjects(read("mbox", files, "b", version=2)) == THREE
        assert subjects(read("mbox", files, "b", version=1)) == ["old 1", "old 2", "old 3"]

    def test_versions_are_not_guessed(self, read: Read) -> None:
        first = [one.replace("v2 ", "").replace("change", "old") for one in PATCHES]
        assert refusal(read, "mbox", {"b": box(*first, *PATCHES)}, "b") == (
            "mbox: holds several versions of the series: v1, v2; "
            "say which with `series: {version: N}`"
        )
        for mails, wanted, there in [(PATCHES, 3, "v2"), (first, 2, "v1"),
                                     ([*first, *PATCHES], 3, "v1, v2")]:  # fmt: skip
            assert refusal(read, "mbox", {"b": box(*mails)}, "b", version=wanted) == (
                f"mbox: holds no patch of version {wanted}, which the manifest asks for, but "
                f"{there}; name another box, or another `series: {{version: N}}`"
            )
        assert subjects(read("mbox", {"b": box(*first)}, "b", version=1))[0] == "old 1"
        assert refusal(read, "mbox", {"b": box(COVER)}, "b", version=2) == (
            "mbox: there is no patch in it"
        )

    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            (box(PATCHES[0], PATCHES[2]), "mbox: patch 2/3 is missing"),
            (box(PATCHES[0], REPLY_DIFF, PATCHES[2]), "mbox: patch 2/3 is missing"),
            (box(*PATCHES, PATCHES[1].replace("<22", "<99")), "mbox: two patches are number 2/3; "
             '"change 2" <22/3@x> and "change 2" <99/3@x>'),
            (box(PATCHES[0], mail("[PATCH v2 2/3]", 2, "Forgot it.\n"), PATCHES[2]),
             'mbox: no diff in "change 2" <22/3@x>, which is number 2/3'),
            (box(PATCHES[0], mail("[PATCH v2]", 2)), 'mbox: "change 2" <2 v2@x> has no number; '
             "wanted [PATCH k/M] in its subject"),
            (box(PATCHES[0], mail("[PATCH v2 2/4]", 2)), 'mbox: "change 2" <22/4@x> is number 2/4; '
             "another patch is number 1/3"),
            (box(*PATCHES, mail("[PATCH v2 4/3]", 4)), 'mbox: "change 4" <44/3@x> is number 4/3'),
            (box(COVER, REPLY), "mbox: there is no patch in it"),
            ("", "mbox: b holds no mail"),
            ("\x1f\x8b\x08", "mbox: b is compressed; gunzip it first"),
        ],
    )  # fmt: skip
    def test_refusals(self, read: Read, text: str, wanted: str) -> None:
        data = text.encode("latin-1") if text.startswith("\x1f") else text
        assert refusal(read, "mbox", {"b": data}, "b") == wanted

    def test_a_damaged_patch_is_named(self, read: Read) -> None:
        damaged = PATCHES[1].replace("-1\n", "wrapped\n-1\n")
        assert refusal(read, "mbox", {"b": box(PATCHES[0], damaged, PATCHES[2])}, "b") == (
            "mbox: 22/3@x: line 5 of the patch: the hunk ends too early: a damaged or "
            "line-wrapped patch"
        )


class TestDirectory:
    FILES = {  # noqa: RUF012
        "p/0000-cover-letter.patch": COVER,
        "p/0001-a.patch": PATCHES[0],
        "p/0002-b.patch": "From 0123456789 Mon Sep 17 00:00:00 2001\n" + PATCHES[1],
        "p/0003-c.patch": PATCHES[2],
        "p/README": "not a patch",
    }

    def test_format_patch(self, read: Read) -> None:
        content = read("directory", self.FILES, "p")
        assert subjects(content) == THREE
        assert content.patches[0].origin == "series.yml:5: patches.directory: 0001-a.patch"

    def test_quilt(self, read: Read) -> None:
        series = "# a queue\n\n  0003-c.patch # last first\nsub/plain.patch -p1\n"
        plain = f"Just text.\n\nMore.\n{diff(4)}"
        files = {**self.FILES, "p/series": series, "p/sub/plain.patch": plain}
        content = read("directory", files, "p")
        assert subjects(content) == ["change 3", "Just text."]

    def test_the_version_is_the_one_that_is_wanted(self, read: Read) -> None:
        assert subjects(read("directory", self.FILES, "p", version=2)) == THREE
        hint = "; keep one version in the folder, the one that `series: {version: N}` says"
        assert refusal(read, "directory", self.FILES, "p", version=3) == (
            'directory: "0001-a.patch" is of version 2, wanted 3' + hint
        )
        mixed = {**self.FILES, "p/0002-b.patch": PATCHES[1].replace("v2", "v3")}
        assert refusal(read, "directory", mixed, "p") == (
            'directory: "0002-b.patch" is of version 3, wanted 2' + hint
        )

    def test_files_that_name_no_version_are_of_any(self, read: Read) -> None:
        files = {name: text.replace("PATCH v2", "PATCH") for name, text in self.FILES.items()}
        assert subjects(read("directory", files, "p", version=3)) == THREE

    def test_files_without_numbers_go_by_name(self, read: Read) -> None:
        files = {"p/b.patch": diff(2), "p/a.diff": diff(1)}
        assert subjects(read("directory", files, "p")) == ["a.diff", "b.patch"]

    @pytest.mark.parametrize(
        ("change", "wanted"),
        [
            ({"p/0002-b.patch": PATCHES[1], "p/0002-v1.patch": PATCHES[1]}, "directory: two "
             "patches are "
             'number 2/3; "change 2" <22/3@x> and "change 2" <22/3@x>'),
            ({"p/0004-a.patch": PATCHES[0], "p/0001-a.patch": None}, 'directory: "0002-b.patch" '
             'is number '
             "2/3 but not in that place; rename the files, or list them in a `series` file"),
            ({"p/0002-b.patch": None}, "directory: patch 2/3 is missing"),
            ({"p/0002-b.patch": mail("[PATCH v2 2/3]", 2, "words\n")},
             "directory: 0002-b.patch: no diff "
             "in it; wanted a unified diff, as git diff makes it"),
            ({"p/series": "0001-a.patch -p0\n"}, 'directory: series:1: option "-p0" is not taken; '
             "refresh with -p1"),
            ({"p/series": "\n0001-a.patch -R\n"}, 'directory: series:2: option "-R" is not taken; '
             "refresh with -p1"),
            ({"p/series": "gone.patch\n"}, 'directory: series:1: cannot find "gone.patch": No '
             'such file or '
             "directory"),
            ({"p/series": "../x.patch\n"}, 'series:1: "../x.patch" lies outside the folder it '
             'is named in; '
             "only files below that folder are taken here"),
            ({"p/series": "/etc/passwd\n"}, 'series:1: "/etc/passwd" lies outside the folder it is '
             "named in; only files below that folder are taken here"),
            ({"p/series": "# nothing\n"}, "directory: there is no patch in it"),
            ({"p/series": "0001-a.patch\n0003-c.patch\n./0001-a.patch\n"}, "directory: series:3: "
             '"./0001-a.patch" is listed twice; first on line 1'),
            ({"p/0001-a.patch": box(PATCHES[0], PATCHES[1])}, "directory: 0001-a.patch: holds 2 "
             "mails, wanted one patch a file; name it with `mbox:`"),
            ({"p/series": "all.patch\n", "p/all.patch": box(*PATCHES)}, "directory: series:1: "
             "holds 3 mails, wanted one patch a file; name it with `mbox:`"),
        ],
    )  # fmt: skip
    def test_refusals(self, read: Read, change: dict[str, str | None], wanted: str) -> None:
        files = {name: text for name, text in {**self.FILES, **change}.items() if text is not None}
        assert refusal(read, "directory", files, "p").endswith(wanted)

    def test_a_mail_that_quotes_an_envelope_is_one_mail(self, read: Read) -> None:
        quoting = mail("[PATCH]", 1, f"Seen:\n\nFrom a@x at 10:00 on it hung.\n---\n{diff(1)}")
        assert subjects(read("directory", {"p/a.patch": quoting}, "p")) == ["change 1"]

    @pytest.mark.parametrize("series", [{}, {"p/series": "0001-a.patch\n0002-b.patch\n"}])
    def test_no_more_is_read_than_a_series_may_have(
        self, read: Read, monkeypatch: pytest.MonkeyPatch, series: dict[str, str]
    ) -> None:
        files = {**self.FILES, "p/0002-b.patch": "x" * 1000, **series}
        files["p/0003-c.patch"] = "not read: it has no diff"
        monkeypatch.setattr(directory, "LARGEST_SERIES", 1000)
        assert refusal(read, "directory", files, "p") == (
            "directory: the series is larger than 0 MiB"
        )
        monkeypatch.undo()
        monkeypatch.setattr(directory, "MOST_PATCHES", 0)
        assert refusal(read, "directory", files, "p") == "directory: holds more than 0 patches"

    def test_not_a_folder_and_nothing_in_it(self, read: Read) -> None:
        assert refusal(read, "directory", {"p": ""}, "p") == 'directory: "p" is not a folder'
        assert refusal(read, "directory", {"q/x": ""}, "q").startswith(
            'directory: "q" holds neither'
        )

    def test_links_out_of_an_upload(self, read: Read, tmp_path: Path) -> None:
        (tmp_path / "p").mkdir()
        (tmp_path / "x").write_text(PATCHES[0])
        (tmp_path / "p/0001-a.patch").symlink_to("../x")
        assert "lies outside" in refusal(read, "directory", {}, "p", confined=True)
        (tmp_path / "p/series").write_text("0001-a.patch\n")
        assert "lies outside" in refusal(read, "directory", {}, "p")

    @pytest.mark.parametrize("target", ["../names", "../nothing"])
    def test_a_list_out_of_an_upload(self, read: Read, tmp_path: Path, target: str) -> None:
        read("directory", {**self.FILES, "names": "0001-a.patch\n"}, "p", confined=True)
        (tmp_path / "p/series").symlink_to(target)
        assert refusal(read, "directory", {}, "p", confined=True) == (
            'directory: "series" lies outside the folder it is named in; '
            "only files below that folder are taken here"
        )


def git(folder: Path, *arguments: str, stdin: str = "") -> str:
    who = ["-c", "user.name=Émile", "-c", "user.email=e@x", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base - one - two - three, a merge `merged`, and settings that would change a diff."""
    folder = tmp_path_factory.mktemp("git")
    git(folder, "init", "-q", "-b", "main")
    for name, text in [("base", "0"), ("one", "1"), ("two", "2"), ("three", "3")]:
        (folder / "f").write_text(f"{text}\n\n")
        (folder / "bin").write_bytes(b"\0" + text.encode())
        if name == "three":
            git(folder, "mv", "bin", "moved")
        git(folder, "add", "-A")
        date = "--date=2010-02-25T08:33:49 -0530"
        git(
            folder,
            "commit",
            "-q",
            date,
            "-F",
            "-",
            stdin=f"Subject {name}\nfolded\n\nWhy {name}.\n",
        )
        git(folder, "tag", name)
    git(folder, "checkout", "-q", "-b", "side", "one")
    git(folder, "commit", "-q", "--allow-empty", "-m", "aside")
    git(folder, "merge", "-q", "-m", "merge", "-s", "ours", "three")
    git(folder, "tag", "merged")
    (folder / ".gitattributes").write_text("f -diff\n")
    for key, value in [
        ("diff.noprefix", "true"), ("diff.external", "/bin/false"), ("color.ui", "always"),
        ("diff.renames", "copies"), ("diff.algorithm", "patience"), ("log.showSignature", "true"),
    ]:  # fmt: skip
        git(folder, "config", key, value)
    return folder


class TestGitRange:
    @pytest.fixture
    def ranged(self, repository: Path, run: Run) -> Callable[[str], Content]:
        def read_range(value: str) -> Content:
            request = Request(value, "s:1", run, repository=repository)
            return sources.read("git-range", request)

        return read_range

    def test_patches_make_the_commits_again(
        self, ranged: Callable[[str], Content], repository: Path, tmp_path: Path
    ) -> None:
        content = ranged("one^..three")
        assert subjects(content) == [
            "Subject one folded",
            "Subject two folded",
            "Subject three folded",
        ]
        first = content.patches[0]
        assert (first.author, first.date) == ("Émile <e@x>", "2010-02-25T08:33:49-05:30")
        assert (first.message, first.origin) == (
            "Why one.",
            f"commit {git(repository, 'rev-parse', 'one')}",
        )
        clone = tmp_path / "clone"
        git(repository, "-c", "color.ui=never", "clone", "-q", "--branch", "base", ".", str(clone))
        for patch, name in zip(content.patches, ("one", "two", "three"), strict=True):
            self.apply(clone, patch)
            assert git(clone, "write-tree") == git(repository, "rev-parse", f"{name}^{{tree}}")

    def test_what_is_put_in_a_commits_place_is_not_read(
        self, repository: Path, run: Run, tmp_path: Path
    ) -> None:
        git(tmp_path, "clone", "-q", str(repository), "clone")
        request = Request("one^..three", "s:1", run, repository=tmp_path / "clone")
        plain = sources.read("git-range", request)
        git(tmp_path / "clone", "replace", "two", "base")
        git(tmp_path / "clone", "config", "diff.suppressBlankEmpty", "true")
        assert sources.read("git-range", request) == plain

    def apply(self, clone: Path, patch: Patch) -> None:
        subprocess.run(
            ["git", "apply", "--index"],
            cwd=clone,
            input=patch.diff,
            capture_output=True,
            check=True,
        )

    @pytest.mark.parametrize(
        ("value", "wanted"),
        [
            ("one..one", "s:1: there is no patch in it"),
            ("three..one", "s:1: three is not an ancestor of one"),
            ("one...three", 's:1: "one...three" is not a range; write FIRST^..LAST'),
            ("one", 's:1: "one" is not a range; write FIRST^..LAST'),
            ("--output=x..three", 's:1: "--output=x..three" is not a range; write FIRST^..LAST'),
            ("one..--all", 's:1: "one..--all" is not a range; write FIRST^..LAST'),
            ("one..a b", 's:1: "one..a b" is not a range; write FIRST^..LAST'),
            ("nothing..three", 's:1: no commit "nothing" in '),
            ("two..merged", " is a merge, which is not a patch; name a range without merges"),
            ("three..merged^", "s:1: three is not an ancestor of merged^"),
        ],
    )
    def test_refusals(self, ranged: Callable[[str], Content], value: str, wanted: str) -> None:
        with pytest.raises(SeriesError) as caught:
            ranged(value)
        assert wanted in str(caught.value)

    def test_an_empty_commit_is_no_patch(self, ranged: Callable[[str], Content]) -> None:
        with pytest.raises(PatchUnreadable, match=r"s:1: commit [0-9a-f]{40}: no diff in it"):
            ranged("one..merged^1")

    def test_needs_a_repository(self, run: Run, tmp_path: Path) -> None:
        with pytest.raises(SeriesError, match="s:1: needs a git repository; give one with --tree"):
            sources.read("git-range", Request("a..b", "s:1", run))
        with pytest.raises(SeriesError, match="no-such-folder is not a folder"):
            sources.read(
                "git-range", Request("a..b", "s:1", run, repository=tmp_path / "no-such-folder")
            )
        with pytest.raises(SeriesError, match=r'no commit "a" in .*; fatal: not a git repository'):
            sources.read("git-range", Request("a..b", "s:1", run, repository=tmp_path))

    def test_git_is_not_installed(self, repository: Path) -> None:
        def missing(argv: Sequence[str], *, stdin: bytes = b"", cwd: Path | None = None) -> Ran:
            raise FileNotFoundError(argv[0])

        with pytest.raises(
            SeriesError, match="needs the program git, which is not here; apt install git"
        ):
            sources.read("git-range", Request("a..b", "s:1", missing, repository=repository))


class TestFromManifest:
    TEXT = (
        "schema: 1\nseries: {title: t, version: 2}\nbase: {debian-source: linux-source-6.12}\n"
        "patches: {mbox: b}\nfeatures: [{name: f, kconfig: F, introduced-by: 4}]\n"
    )

    def test_reads_what_the_manifest_names(self, fill: Fill, run: Run, repository: Path) -> None:
        folder = fill({"series.yml": self.TEXT.replace("by: 4", "by: 3"), "b": box(*PATCHES)})
        assert subjects(read_series(load(folder / "series.yml"), run)) == THREE
        text = self.TEXT.replace("{mbox: b}", "{git-range: one^..three}").replace("by: 4", "by: 0")
        based = text.replace("debian-source: linux-source-6.12", f"git: {repository}, ref: base")
        (folder / "series.yml").write_text(based)
        assert len(read_series(load(folder / "series.yml"), run).patches) == 3
        (folder / "series.yml").write_text(text)
        read = read_series(load(folder / "series.yml"), run, repository=repository)
        assert len(read.patches) == 3

    def test_a_feature_cannot_come_with_a_patch_that_is_not_there(
        self, fill: Fill, run: Run
    ) -> None:
        folder = fill({"series.yml": self.TEXT, "b": box(*PATCHES)})
        with pytest.raises(SeriesError) as caught:
            read_series(load(folder / "series.yml"), run)
        assert str(caught.value) == (
            f"{folder}/series.yml:5:49: features[0].introduced-by: there is no patch 4; "
            "the series has 3 patches"
        )

    def test_limits(self, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sources, "MOST_PATCHES", 2)
        assert refusal(read, "mbox", {"b": box(*PATCHES)}, "b") == "mbox: holds more than 2 patches"
        monkeypatch.undo()
        monkeypatch.setattr(sources, "LARGEST_SERIES", 100)
        assert "the series is larger than" in refusal(read, "mbox", {"b": box(*PATCHES)}, "b")


def test_a_patch_is_a_diff_or_a_change() -> None:
    for both in [(None, None), (b"", Change())]:
        with pytest.raises(ValueError, match="either a diff or a change"):
            Patch("s", "a", "d", "m", *both, origin="o")
