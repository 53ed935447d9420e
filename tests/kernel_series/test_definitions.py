# SPDX-License-Identifier: GPL-2.0-or-later
"""What `within:` means: the definition of a name, not a call, a prototype or a comment."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_series.definitions import LONGEST_LINE, regions

SOURCE = """\
/* Comments do not count:
hidden(int a)
{
}
*/
static int proto(struct thing *t);
extern int later(int a,
	int b);

struct thing {
	int a;
	struct { int b; } inner;
};

static int plain(struct thing *t)
{
	char *brace = "}\\
}";
	if (later(1, 2)) {
		return proto(t);
	}
	return plain(t);
}
EXPORT_SYMBOL_GPL(plain);

static struct thing *
split(int (*callback)(int), unsigned long flags) __must_hold(&lock)
{
	return NULL;
}

static inline int stub(void) { return 0; }
static inline int after_stub(void)
{
	return 1;
}

SYSCALL_DEFINE2(call, int, a, int, b)
{
	return 0;
}

static struct thing table[] __read_mostly = {
	{ .a = 1 },
};

#ifdef CONFIG_A
int twice(void)
{
	return 1;
}
#else
int twice(void) { return 0; }
#endif

enum state {
	ON,
};
int last(void)
{
}"""


def lines(name: str, text: str = SOURCE) -> list[tuple[str, str]]:
    """First and last line of every region."""
    found = [text[start:end].rstrip("\n").split("\n") for start, end in regions(text, name)]
    return [(part[0], part[-1]) for part in found]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("plain", [("static int plain(struct thing *t)", "}")]),
        ("thing", [("struct thing {", "};")]),
        ("split", [("split(int (*callback)(int), unsigned long flags) __must_hold(&lock)", "}")]),
        ("stub", [("static inline int stub(void) { return 0; }",) * 2]),
        ("after_stub", [("static inline int after_stub(void)", "}")]),
        ("call", [("SYSCALL_DEFINE2(call, int, a, int, b)", "}")]),
        ("table", [("static struct thing table[] __read_mostly = {", "};")]),
        ("twice", [("int twice(void)", "}"), ("int twice(void) { return 0; }",) * 2]),
        ("state", [("enum state {", "};")]),
        ("last", [("int last(void)", "}")]),
        ("proto", []),
        ("later", []),
        ("hidden", []),
        ("EXPORT_SYMBOL_GPL", []),
        ("inner", []),
        ("lock", []),
        ("a", []),
    ],
)
def test_definitions(name: str, wanted: list[tuple[str, str]]) -> None:
    assert lines(name) == wanted


def test_a_brace_in_a_string_ends_nothing() -> None:
    [(start, end)] = regions(SOURCE, "plain")
    assert SOURCE[start:end].endswith("\treturn plain(t);\n}\n")


@pytest.mark.parametrize(
    "text",
    [
        "int f(void)\n{\n\treturn 0;\n",  # never closed
        "int f(" + "int a, " * 1000 + "int b)\n{\n}\n",  # a signature beyond all reason
        "int " + "x" * LONGEST_LINE + " f(void)\n{\n}\n",
        "f",
        "f(",
        "",
    ],
)
def test_no_definition(text: str) -> None:
    assert regions(text, "f") == ()


@settings(deadline=None)
@given(st.text(alphabet="f(){};=,*/\"'\\ \n#_A[]"))
def test_regions_are_whole_lines_in_order(text: str) -> None:
    at = 0
    for start, end in regions(text, "f"):
        assert at <= start < end
        assert start == 0 or text[start - 1] == "\n"
        assert end == len(text) or text[end - 1] == "\n"
        at = end
