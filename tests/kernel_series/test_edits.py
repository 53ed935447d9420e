# SPDX-License-Identifier: GPL-2.0-or-later
"""The edit engine: each operation, what it refuses, and that it never bends a recipe to fit."""

import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernel_series import document, edits
from kernel_series.edits import (
    Add,
    Cut,
    Delete,
    Edit,
    Operation,
    Replace,
    Unifdef,
    apply,
    load_recipe,
    read_edits,
)
from kernel_series.errors import RecipeMisfit, SeriesError
from kernel_series.run import Ran, Run
from kernel_series.tree import Change

CODE = """\
int one(int a);

int one(int a)
{
	if (a)
		return two(a);
	return 0;
}

int two(int a)
{
	return one(a - 1);
	return 0;
}
"""


def edit(operation: Operation, within: str | None = None, file: str = "f.c", line: int = 7) -> Edit:
    return Edit((file,), operation, within, line)


@pytest.fixture
def change(tree: Callable, run: Run) -> Callable[..., Change]:
    def change_code(*edits: Edit, **files: str | bytes) -> Change:
        return apply(edits, tree({"f.c": CODE, **files}), run, "r.yml")

    return change_code


def cut_out(text: str, gone: str) -> bytes:
    assert gone in text
    return text.replace(gone, "", 1).encode()


WORKS: list[tuple[str, Edit, bytes | None]] = [
    ("replace", edit(Replace("a - 1", "a - 2")), CODE.replace("a - 1", "a - 2").encode()),
    ("all of them", edit(Replace("return 0", "return 1", 2)),
     CODE.replace("return 0", "return 1").encode()),
    ("several lines", edit(Replace("a)\n{\n\tif", "a)\n{ /* */\n\tif")),
     CODE.replace("{\n\tif", "{ /* */\n\tif").encode()),
    ("only within", edit(Replace("return 0", "return 1"), "two"),
     CODE.replace("1);\n\treturn 0", "1);\n\treturn 1").encode()),
    ("cut", edit(Cut(r"^\tif \(a\)$", "return 0")), cut_out(CODE, "\tif (a)\n\t\treturn "
     "two(a);\n")),
    ("cut within", edit(Cut(r"return one", "return 0"), "two"),
     cut_out(CODE, "\treturn one(a - 1);\n")),
    ("delete", edit(Delete()), None),
]  # fmt: skip


@pytest.mark.parametrize(("what", "step", "wanted"), WORKS, ids=[w[0] for w in WORKS])
def test_works(change: Callable[..., Change], what: str, step: Edit, wanted: bytes | None) -> None:
    assert dict(change(step)) == {"f.c": wanted}


MISFITS: list[tuple[Edit, str, int]] = [
    (edit(Replace("nowhere", "x")), 'f.c: "nowhere" found 0 times, wanted 1; '
     "the recipe does not fit this tree", 0),
    (edit(Replace("return 0", "x")), 'f.c: "return 0" found 2 times, wanted 1; '
     "the recipe does not fit this tree", 2),
    (edit(Replace("return 0", "x", 2), "one"), 'f.c: "return 0" found 1 times within one, '
     'wanted 2; '
     "the recipe does not fit this tree", 1),
    (edit(Replace("\treturn 0;\nx", "x")), 'f.c: "\\treturn 0;\\nx" found 0 times, wanted 1; '
     "its first line alone is in the file 2 times", 0),
    (edit(Replace("\t}\n\t}\n", "x"), file="runs.c"), 'runs.c: "\\t}\\n\\t}\\n" found at places '
     "that overlap; take in more of the text around it", 2),
    (edit(Replace("aba", "x", 2), "f", file="runs.c"), 'runs.c: "aba" found at places that overlap '
     "within f; take in more of the text around it", 2),
    (edit(Replace("a", "x"), "three"), "f.c: no definition of three (the name stands there 0 "
     "times); "
     "the recipe does not fit this tree", 0),
    (edit(Cut("return 0", "}")), 'f.c: 2 lines match "return 0", wanted 1; '
     "the recipe does not fit this tree", 2),
    (edit(Cut("return 0", "int two"), "one"), 'f.c: no later line matches "int two" within one; '
     "the recipe does not fit this tree", 0),
    (edit(Unifdef(("-UCONFIG_X",))), "f.c: unifdef -UCONFIG_X changes nothing; "
     "the recipe does not fit this tree", 0),
    (edit(Delete(), file="g.c"), "g.c: no such file in the tree; the recipe does not fit this "
     "tree", 0),
    (edit(Add("x")), "f.c: exists already, wanted a new file; "
     "the recipe does not fit this tree", 1),
]  # fmt: skip


@pytest.mark.parametrize(("step", "wanted", "found"), MISFITS, ids=[m[1][:40] for m in MISFITS])
def test_misfits(change: Callable[..., Change], step: Edit, wanted: str, found: int) -> None:
    with pytest.raises(RecipeMisfit) as caught:
        change(step, **{"runs.c": "int f(int ababa)\n{\n\t\t}\n\t}\n\t}\n}\n"})
    error = caught.value
    assert str(error) == f"r.yml:7: edit 1 of 1: {wanted}"
    assert (error.file, error.edit, error.found) == (step.files[0], 1, found)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.file, again.found) == (str(error), error.file, error.found)


def test_edits_see_what_earlier_ones_left(change: Callable[..., Change]) -> None:
    steps = [edit(Replace("int two", "int three")), edit(Replace("return 0", "return 3"), "three")]
    assert b"return 3" in (change(*steps)["f.c"] or b"")
    with pytest.raises(RecipeMisfit, match="edit 2 of 2"):
        change(steps[0], edit(Replace("return 0", "return 3"), "two"))


def test_what_comes_to_nothing_is_no_change(change: Callable[..., Change]) -> None:
    there = edit(Replace("a - 1", "a - 2"))
    back = edit(Replace("a - 2", "a - 1"))
    assert dict(change(there, back)) == {}
    assert dict(change(edit(Add("x"), file="new"), edit(Delete(), file="new"))) == {}
    assert dict(change(edit(Delete()), edit(Add("x")))) == {"f.c": b"x"}


def test_first_file_that_exists(change: Callable[..., Change]) -> None:
    step = Edit(("kprobes/core.c", "f.c", "other.c"), Delete())
    assert dict(change(step, **{"other.c": ""})) == {"f.c": None}
    with pytest.raises(RecipeMisfit, match=r"a\.c or b\.c: no such file"):
        change(Edit(("a.c", "b.c"), Delete()))


def test_bytes_that_are_not_utf8_survive(change: Callable[..., Change]) -> None:
    result = change(edit(Replace("1", "2"), file="l1"), **{"l1": b"caf\xe9 1\r\n"})
    assert result["l1"] == b"caf\xe9 2\r\n"


def test_unifdef(change: Callable[..., Change]) -> None:
    code = "a\n#ifdef CONFIG_X\nb\n#else\nc\n#endif\n#if defined(CONFIG_X) && FOO\nd\n#endif\n"
    result = change(edit(Unifdef(("-UCONFIG_X",)), file="x.h"), **{"x.h": code})
    assert result["x.h"] == b"a\nc\n"


def test_unifdef_that_fails(change: Callable[..., Change]) -> None:
    with pytest.raises(RecipeMisfit, match=r"x\.h: unifdef failed: .*EOF"):
        change(edit(Unifdef(("-UA",)), file="x.h"), **{"x.h": "#ifdef A\n"})


def _no_program(argv: Sequence[str], *, stdin: bytes = b"", cwd: Path | None = None) -> Ran:
    raise FileNotFoundError(argv[0])


def _status_127(argv: Sequence[str], *, stdin: bytes = b"", cwd: Path | None = None) -> Ran:
    return Ran(127, b"", b"sh: unifdef: not found")


@pytest.mark.parametrize("missing", [_no_program, _status_127])
def test_unifdef_not_installed(tree: Callable, missing: Run) -> None:
    with pytest.raises(SeriesError) as caught:
        apply([edit(Unifdef(("-UA",)))], tree({"f.c": CODE}), missing, "r.yml")
    assert str(caught.value) == (
        "r.yml:7: edit 1 of 1: f.c: this needs the program unifdef, which is not here; "
        "apt install unifdef"
    )


def test_what_a_recipe_makes_is_bounded(
    change: Callable[..., Change], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before it is made: no memory would be large enough."""
    many = "x\n" * 100_000
    with pytest.raises(SeriesError) as caught:
        change(edit(Replace("x", "y" * 10**6, 100_000), file="many"), many=many)
    assert str(caught.value) == "r.yml:7: edit 1 of 1: many: would be larger than 4 MiB"
    assert (
        change(edit(Replace("x", "", 100_000), file="many"), many=many)["many"] == b"\n" * 100_000
    )
    monkeypatch.setattr(edits, "LARGEST_FILE", 5)
    assert change(edit(Replace("x", "éa"), file="f"), f="x 1")["f"] == "éa 1".encode()
    with pytest.raises(SeriesError, match="would be larger than"):
        change(edit(Replace("x", "éab"), file="f"), f="x 1")


def test_a_cut_does_not_look_at_endless_lines(change: Callable[..., Change]) -> None:
    with pytest.raises(RecipeMisfit, match="0 lines match"):
        change(edit(Cut("x", "y"), file="long"), long="x" * 5000 + "\ny\n")


@settings(deadline=None)
@given(
    before=st.text(alphabet="ab\n{}", max_size=20),
    text=st.text(alphabet="ab\n", min_size=1, max_size=5),
    after=st.text(alphabet="ab\n{}", max_size=20),
)
def test_replacing_there_and_back(
    tree: Callable, run: Run, before: str, text: str, after: str
) -> None:
    """What was put in can be taken out, and the file is as it was."""
    original = before + text + after
    count = sum(original.startswith(text, at) for at in range(len(original)))
    assume(count == original.count(text))  # they do not overlap
    there = edit(Replace(text, "<x>", count))
    back = edit(Replace("<x>", text, count))
    files = tree({"f.c": original})
    assert len(apply([there], files, run, "r")) == 1
    assert dict(apply([there, back], files, run, "r")) == {}


# --- reading recipes ---

RECIPE = """\
name: boundary-off-by-one
title: the region may reach one byte past the function
source: own
edits:
  - file: [arch/x86/kernel/kprobes/opt.c, arch/x86/kernel/kprobes-opt.c]
    within: can_optimize
    find: "size - offset < JMP32_INSN_SIZE"
    replace: "size - offset < JMP32_INSN_SIZE - 1"
  - {file: a, cut: {from: ^x, to: ^y}}
  - {file: b, unifdef: [-UCONFIG_X, -DY=1]}
  - {file: c, delete: true}
  - {file: d, add: "text"}
  - {file: e, find: f, replace: "", count: 3}
needs: [kvm]
caught-by: [safety]
shows: optimized although the jump would leave the function
"""


def test_recipe(fill: Callable[..., Path]) -> None:
    recipe = load_recipe(fill({"r.yml": RECIPE}) / "r.yml")
    assert (recipe.name, recipe.source) == ("boundary-off-by-one", "own")
    assert (recipe.needs, recipe.caught_by) == (("kvm",), ("safety",))
    assert recipe.edits[0] == Edit(
        ("arch/x86/kernel/kprobes/opt.c", "arch/x86/kernel/kprobes-opt.c"),
        Replace("size - offset < JMP32_INSN_SIZE", "size - offset < JMP32_INSN_SIZE - 1"),
        "can_optimize",
        5,
    )
    assert [step.operation for step in recipe.edits[1:]] == [
        Cut("^x", "^y"),
        Unifdef(("-UCONFIG_X", "-DY=1")),
        Delete(),
        Add("text"),
        Replace("f", "", 3),
    ]


BAD_EDITS = [
    ("[]", "1:1: is empty; an edit recipe needs at least one edit"),
    ("[{file: f}]", "1:2: [0]: says nothing; one of: find, cut, unifdef, delete, add"),
    ("[{file: f, find: a, delete: true}]", "1:29: [0].delete: find and delete are both given; "
     "one of: find, cut, unifdef, delete, add"),
    ("[{file: f, find: a}]", '1:2: [0]: "replace" is missing; replace: "" takes the text out'),
    ("[{file: f, find: a, replace: a}]", "1:30: [0].replace: is the same text as `find`"),
    ("[{file: f, find: a, replace: b, count: 0}]", '1:40: [0].count: found "0", wanted a whole '
     "number, 1 or more"),
    ("[{file: f, delete: true, within: x}]", "1:34: [0].within: unknown key; known: file, delete"),
    ("[{file: f, delete: no}]", '1:20: [0].delete: unknown: "no"; known: true'),
    ("[{file: [], delete: true}]", "1:9: [0].file: is empty; name a file, or a list of which the "
     "first that exists is taken"),
    ("[{file: [a, b], add: x}]", "1:9: [0].file: names several files; `add` makes exactly one"),
    ("[{file: ../x, delete: true}]", '1:9: path "../x" leaves the tree; '
     "name a file inside the source tree"),
    ("[{file: /etc/x, delete: true}]", '1:9: path "/etc/x" is absolute; '
     "name a file inside the source tree"),
    ("[{file: a/.GIT/config, add: x}]", '1:9: path "a/.GIT/config" points into .git; '
     "name a file inside the source tree"),
    ('[{file: "a\\0b", add: x}]', '1:9: path "a\\x00b" holds a control character; '
     "name a file inside the source tree"),
    ("[{file: a//b, add: x}]", '1:9: path "a//b" is not a normal path of a file; '
     "name a file inside the source tree"),
    ("[{file: f, within: a b, find: a, replace: b}]", '1:20: [0].within: found "a b", '
     "wanted the name of a function, struct or object"),
    ("[{file: f, unifdef: [-o/etc/passwd]}]", '1:22: [0].unifdef[0]: found "-o/etc/passwd", '
     "wanted -UNAME, -DNAME or -DNAME=1"),
    ("[{file: f, unifdef: []}]", "1:21: [0].unifdef: is empty; write for example [-UCONFIG_X]"),
    ("[{file: f, cut: {from: a}}]", '1:17: [0].cut: key "to" is missing; known: from, to'),
    ("[{file: f, cut: {from: '(', to: b}}]", "1:24: [0].cut.from: not a regular expression: "
     "missing ), unterminated subpattern at position 0"),
    ("[{file: f, cut: {from: '(a+)+$', to: b}}]", "1:24: [0].cut.from: repeats a group, looks "
     "around or refers back; keep it plain"),
    ("[{file: f, cut: {from: '(?=a)', to: b}}]", "1:24: [0].cut.from: repeats a group, looks "
     "around or refers back; keep it plain"),
    ("[{file: f, cut: {from: '(a)\\1', to: b}}]", "1:24: [0].cut.from: repeats a group, looks "
     "around or refers back; keep it plain"),
    ("[{file: f, cut: {from: 'a?a?a?', to: b}}]", "1:24: [0].cut.from: has more than 2 repeats "
     "(* + ? {) or 4 alternatives; keep it plain"),
    ("[{file: f, cut: {from: '[*+?]\\*.*', to: b}}]", None),
    ("[{file: f, cut: {from: '\\[[a-z]\\[*', to: b}}]", None),
    ("[{file: f, cut: {from: '[[a]', to: b}}]", "1:24: [0].cut.from: has a character class that "
     "Python warns of; escape what is in it"),
    ("[{file: f, cut: {from: " + "a" * 201 + ", to: b}}]", "1:24: [0].cut.from: is longer than "
     "one line "
     "of 200 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), BAD_EDITS, ids=[b[0][:40] for b in BAD_EDITS])
def test_bad_edits(text: str, wanted: str | None) -> None:
    node = document.parse(text, "r.yml")
    if wanted is None:
        assert read_edits(node)
        return
    with pytest.raises(SeriesError) as caught:
        read_edits(node)
    assert str(caught.value) == f"r.yml:{wanted}"


def hard_to_match(parsed: object) -> bool:
    """Whether a parsed pattern repeats more than one character, looks around or refers back."""
    for operation, argument in parsed:  # type: ignore[attr-defined]
        name = str(operation)
        if "REPEAT" in name and any(
            str(inner) not in ("LITERAL", "NOT_LITERAL", "ANY", "IN") for inner, _ in argument[2]
        ):
            return True
        if "GROUPREF" in name or "ASSERT" in name or "ATOMIC" in name:
            return True
        if name == "SUBPATTERN" and hard_to_match(argument[3]):
            return True
        if name == "BRANCH" and any(map(hard_to_match, argument[1])):
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab(){}[]*+?|\\^$.0123456789=!<>:P", max_size=40))
def test_a_pattern_that_is_taken_is_easy(pattern: str) -> None:
    quoted = pattern.replace("'", "''")
    node = document.parse(f"[{{file: f, cut: {{from: '{quoted}', to: b}}}}]", "r.yml")
    try:
        [step] = read_edits(node)
    except SeriesError:
        return
    assert isinstance(step.operation, Cut)
    assert not hard_to_match(re._parser.parse(step.operation.start))  # type: ignore[attr-defined]
