# SPDX-License-Identifier: GPL-2.0-or-later
"""The commits A..B of a git repository, oldest first.

Uses plumbing only (rev-parse, rev-list, cat-file, diff-tree), which reads few settings of the user,
and says those on the command line. Attributes stay: a file that has `-diff` comes as a binary
patch, which makes the same file. (--text would make text of files that are truly binary.)
Revisions are resolved to object ids first, behind --end-of-options, so that none can pass for an
option.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from kernel_series.content import NO_DATE, Content, Patch, commit_text
from kernel_series.difftext import read_diff
from kernel_series.errors import SeriesError, printable, quoted
from kernel_series.run import Ran, Run, first_line, run_tool
from kernel_series.sources import MOST_PATCHES, Request
from kernel_series.tree import Change

NAMES_A_PATH = False

_REVISION = r"(?!-)[0-9A-Za-z_/^~@{}+-](?:\.?[0-9A-Za-z_/^~@{}+-]){0,200}"
_RANGE = re.compile(rf"({_REVISION})\.\.({_REVISION})")
_OPTIONS = (
    "--no-replace-objects",  # what a commit is, not what somebody put in its place in this clone
    *("-c", "protocol.allow=never"),  # a partial clone must not fetch behind our back what it lacks
    *("-c", "core.quotePath=true", "-c", "diff.suppressBlankEmpty=false"),
)
_DIFF = (
    *("--no-commit-id", "--root", "-r", "-p", "--binary", "--full-index", "--no-renames"),
    *("--no-ext-diff", "--no-textconv", "--no-color", "--unified=3", "--inter-hunk-context=0"),
    *("--diff-algorithm=myers", "--indent-heuristic", "--src-prefix=a/", "--dst-prefix=b/"),
    *("--no-relative", "--submodule=short", "--ignore-submodules=none", "-O/dev/null"),
)
_PERSON = re.compile(r"(.*?) ?<([^<>]*)> (-?\d{1,12}) ([+-]\d{2})(\d{2})")


def read(request: Request) -> Content:
    """The commits of the range as patches; merges are refused."""
    if request.repository is None:
        raise SeriesError(request.place, "needs a git repository", "give one with --tree")
    match = _RANGE.fullmatch(request.value)
    if match is None:
        raise SeriesError(
            request.place, f"{quoted(request.value)} is not a range", "write FIRST^..LAST"
        )
    git = _Git(request.repository, request.run, request.place)
    first, last = git.commit(match[1]), git.commit(match[2])
    if git.run("merge-base", "--is-ancestor", first, last, accept=(0, 1)).status:
        raise SeriesError(request.place, f"{match[1]} is not an ancestor of {match[2]}")
    listing = git.run(
        "rev-list", "--reverse", "--topo-order", "--parents", f"{first}..{last}", "--"
    )
    commits = [line.split() for line in listing.stdout.decode("ascii").splitlines()]
    if len(commits) > MOST_PATCHES:
        raise SeriesError(request.place, f"{request.value} holds {len(commits)} commits")
    for commit, *parents in commits:
        if len(parents) > 1:
            raise SeriesError(
                request.place,
                f"{commit[:12]} is a merge, which is not a patch",
                "name a range without merges",
            )
    return Content(Change(), tuple(git.patch(commit) for commit, *_ in commits))


class _Git:
    """The few questions that are asked of a repository."""

    def __init__(self, repository: Path, run: Run, place: str) -> None:
        self._repository = repository
        self._run = run
        self._place = place

    def run(self, *arguments: str, accept: tuple[int, ...] = (0,)) -> Ran:
        argv = ["git", *_OPTIONS, *arguments]
        ran = run_tool(self._run, argv, package="git", place=self._place, cwd=self._repository)
        if ran.status not in accept:
            raise SeriesError(self._place, f"git {arguments[0]}: {first_line(ran.stderr)}")
        return ran

    def commit(self, revision: str) -> str:
        ran = self.run(
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            f"{revision}^{{commit}}",
            accept=(0, 1, 128),
        )
        commit = ran.stdout.decode("ascii", "replace").strip()
        if ran.status or not re.fullmatch(r"[0-9a-f]{40,64}", commit):
            raise SeriesError(
                self._place,
                f"no commit {quoted(revision)} in {self._repository}",
                first_line(ran.stderr) or "fetch it, or name another tree",
            )
        return commit

    def patch(self, commit: str) -> Patch:
        raw = self.run("cat-file", "commit", commit).stdout
        origin = f"commit {commit}"
        diff = self.run("diff-tree", *_DIFF, commit, "--").stdout
        read_diff(diff, f"{self._place}: {origin}")
        headers, _, message = raw.partition(b"\n\n")
        fields = dict(line.partition(b" ")[::2] for line in reversed(headers.split(b"\n")))
        charset = fields.get(b"encoding", b"utf-8").decode("ascii", "replace")
        author, date = _author(commit_text(fields.get(b"author", b""), charset))
        subject, _, body = commit_text(message, charset).strip("\n").partition("\n\n")
        subject = " ".join(printable(subject.replace("\n", " ")).split())
        return Patch(subject or "(no subject)", author, date, body.strip(), diff, None, origin)


def _author(line: str) -> tuple[str, str]:
    match = _PERSON.fullmatch(printable(line))
    if match is None:
        return printable(line), NO_DATE
    name, mail, seconds, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(hours[0] + minutes))
    try:
        moment = datetime.fromtimestamp(int(seconds), UTC).astimezone(timezone(offset))
    except (ValueError, OverflowError, OSError):
        return f"{name} <{mail}>", NO_DATE
    return f"{name} <{mail}>", moment.isoformat()
