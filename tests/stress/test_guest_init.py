# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's init, its parts compiled for this host: job reader, stamping, and the whole."""

import errno
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stress import guest, ktap
from stress.errors import ScenarioError
from stress.job import MAX_SEED, job_json
from stress.protocol import Alive, BootEnd, Evidence, Outcome, Reader, Rejection, ScenarioEnd
from stress.scenario import Clock, load_all
from stress.transcript import Transcript

HERE = Path(__file__).parent
SOURCES = Path(guest.__file__).parent / "init"
TOKEN = "0123456789abcdef"
WARNINGS = ("-Wall", "-Wextra", "-Werror")


@pytest.fixture(scope="session")
def compiler() -> str:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("there is no gcc to compile the guest's init with")
    return gcc


@pytest.fixture(scope="session")
def harness(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """init_harness.c as a program, with sanitizers where this gcc can link them."""
    program = tmp_path_factory.mktemp("init") / "harness"
    command = [compiler, "-O1", "-g", *WARNINGS, "-Wno-unused-function", "-I", str(SOURCES)]
    command += ["-o", str(program), str(HERE / "init_harness.c")]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    if subprocess.run([*command, *sanitizers], capture_output=True, check=False).returncode:
        subprocess.run(command, check=True)
    return program


def run(harness: Path, *arguments: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run([harness, *arguments], input=data, capture_output=True, check=False)
    assert done.stderr == b""
    return done


def read_job(harness: Path, data: bytes) -> str:
    done = run(harness, "job", data=data)
    text = done.stdout.decode()
    assert done.returncode == int(text.startswith("refused"))
    return text


def test_every_shipped_scenario_is_understood(harness: Path) -> None:
    scenarios = list(load_all().values())
    data = job_json(TOKEN, MAX_SEED, Clock.ICOUNT, scenarios)
    first, *lines = read_job(harness, data).split("\n")
    assert first == f"{TOKEN} {MAX_SEED} icount"
    expected = [
        " ".join([one.name, one.run, *(f"{key}={value}" for key, value in one.parameters.items())])
        for one in scenarios
    ]
    assert lines == [*expected, ""]


def job(**changes: object) -> dict[str, object]:
    scenario = {"name": "smoke", "run": "smoke", "parameters": {}}
    return {"token": TOKEN, "seed": 1, "clock": "wall", "scenarios": [scenario]} | changes


def test_kinds_of_parameters(harness: Path) -> None:
    parameters = {"a": -5, "b": True, "c": False, "d": "x.y:/,+-", "e": ""}
    scenario = {"name": "n", "run": "sh:n", "parameters": parameters}
    data = json.dumps(job(scenarios=[scenario]), indent=2).encode() + b"\n"
    assert read_job(harness, data).splitlines()[1] == "n sh:n a=-5 b=1 c=0 d=x.y:/,+- e="


def parameter(name: str, value: object) -> dict[str, object]:
    scenario = {"name": "smoke", "run": "smoke", "parameters": {name: value}}
    return job(scenarios=[scenario])


many = {f"p{number}": 1 for number in range(17)}


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"", "before byte 0 is not an object"),
        (b"\0", "is not an object"),
        (b"[]", "is not an object"),
        (b"{", "is not a string"),
        (b"{}", "lacks token, seed, clock or scenarios"),
        (b'{"token', "does not end"),
        (b'{"token"', "has a key without a value"),
        (b'{"token": ', "is not a string"),
        (b'{"token": "a\\u0041"}', "holds a character that no job needs"),
        (b'{"token": "a b"}', "holds a character that no job needs"),
        (b'{"token": "a\xff"}', "holds a character that no job needs"),
        (b'{"token": "a", "token": "b"}', "is there twice"),
        (b'{"seed": 1, "seed": 1}', "is there twice"),
        (b'{"seed": 1.5}', "does not end with }"),
        (b'{"seed": -}', "is not an integer"),
        (b'{"seed": "1"}', "is not an integer"),
        (b'{"seed": tru}', "is not an integer"),
        (b'{"scenarios": [[]]}', "is not an object"),
        (b'{"scenarios": [{}]}', "lacks name, run or parameters"),
        (b'{"scenarios": [], "scenarios": []}', "is there twice"),
        (b'{"scenarios": ' + b"[" * 10_000, "is not an object"),
        (json.dumps(job()).encode() + b" x", "is followed by something"),
        (json.dumps(job()).encode() + b"\0", "is followed by something"),
        (json.dumps(job()).encode()[:-1], "does not end with }"),
        (job(token="a" * 65), "is too long"),
        (job(seed=10**21), "is too long"),
        (job(clock="sundial-"), "is too long"),
        (job(speed=1), "is an unknown key"),
        (job(**{"k" * 32: 1}), "is too long"),
        (job(scenarios=[]), "lacks token, seed, clock or scenarios"),
        (job(scenarios=[{"name": "a", "run": "a"}]), "lacks name, run or parameters"),
        (job(scenarios=[{"name": "a", "run": "a", "ruin": 1}]), "is an unknown key"),
        (job(scenarios=[{"name": "a" * 32}]), "is too long"),
        (job(scenarios=[{"name": "a", "run": "a", "parameters": {}}] * 65), "is one scenario too"),
        (job(scenarios=[{"name": "a", "run": "a", "parameters": many}]), "is one parameter too"),
        (parameter("a", None), "is not an integer"),
        (parameter("a", [1]), "is not an integer"),
        (parameter("a", {}), "is not an integer"),
        (parameter("a", 1.5), "does not end with }"),
        (parameter("a", "x" * 64), "is too long"),
        (parameter("a", "x y"), "holds a character that no job needs"),
        (parameter("a" * 32, 1), "is too long"),
        (
            b'{"scenarios": [{"name": "a", "run": "a", "parameters": {"p": 1, "p": 2}}]}',
            "is there twice",
        ),
    ],
)
def test_refused_jobs(harness: Path, said: object, problem: str) -> None:
    data = said if isinstance(said, bytes) else json.dumps(said).encode()
    text = read_job(harness, data)
    assert text.startswith("refused ")
    assert problem in text


def test_the_token_survives_a_later_fault(harness: Path) -> None:
    assert read_job(harness, json.dumps(job(x=1)).encode()).startswith(f"refused {TOKEN}: ")


GOOD_JOB = json.dumps(job(scenarios=[{"name": "a", "run": "b", "parameters": {"c": 1}}])).encode()


@settings(deadline=None)
@given(
    st.binary()
    | st.builds(
        lambda at, cut, new: GOOD_JOB[:at] + new + GOOD_JOB[at + cut :],
        st.integers(0, len(GOOD_JOB)),
        st.integers(0, 8),
        st.binary(max_size=8),
    )
)
def test_any_job(harness: Path, data: bytes) -> None:
    """What is not JSON is refused; what the reader takes, it takes as Python does."""
    text = read_job(harness, data)
    if text.startswith("refused"):
        return
    understood = json.loads(data)
    assert text.splitlines()[0] == "{token} {seed} {clock}".format(**understood)
    assert len(text.splitlines()) == 1 + len(understood["scenarios"])


SAID = b"""\
    ok 1 demo.one
# farm begin {"case": "demo.two", "uptime_ms": 20}
# farm evidence {"hits": 5}
    not ok 2 demo.two # 5 of 10
a remark
"""


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_relayed_and_read_again(harness: Path, piece: int) -> None:
    done = run(harness, "relay", TOKEN, str(piece), data=SAID)
    transcript = Transcript(TOKEN)
    events = transcript.feed(done.stdout)
    boot = transcript.report()
    (demo,) = boot.scenarios
    assert (demo.outcome, demo.intact, boot.ended) == (Outcome.DONE, True, True)
    assert [(case.name, case.ok) for case in demo.cases] == [
        ("demo.one", True),
        ("demo.two", False),
    ]
    assert Evidence((("hits", 5),)) in events
    assert Alive(1010) in events
    assert events[-1] == BootEnd(None)
    assert b"\nnot ok 1 demo\n" in done.stdout
    assert boot.rejected == {Rejection.OTHER: 1}


@pytest.mark.parametrize(
    ("said", "outcome", "reason"),
    [
        (b"# farm skip no such thing\n", Outcome.SKIP, "no such thing"),
        (b'# farm error a "quoted" \\ \x01 text', Outcome.ERROR, 'a "quoted" \\ ? text'),
        (b"# farm error first\n# farm skip second\n", Outcome.ERROR, "first"),
        (b"# farm end {}\n", Outcome.ERROR, "the scenario said something that init does not know"),
        (b"x" * 5000 + b"\n", Outcome.ERROR, "the scenario said a line that is too long"),
        (b"# farm skip " + b"y" * 1000 + b"\n", Outcome.SKIP, "y" * 255),
        (b"", Outcome.DONE, None),
    ],
)
def test_outcomes(harness: Path, said: bytes, outcome: Outcome, reason: str | None) -> None:
    done = run(harness, "relay", TOKEN, "100", data=said)
    events = Reader(TOKEN).feed(done.stdout)
    assert ScenarioEnd("demo", outcome, reason, intact=True) in events
    top = next(line for line in done.stdout.decode().splitlines() if " 1 demo" in line)
    assert top.startswith("not ok" if outcome is Outcome.ERROR else "ok")


hostile_lines = st.lists(
    st.binary(max_size=50)
    | st.builds(
        lambda *parts: b"".join(parts),
        st.sampled_from([b"", b"    ", b"  ", b" " * 28, b" " * 32]),
        st.sampled_from(
            [b"ok ", b"not ok ", b"1..", b"KTAP version 1", b"# Subtest: ", b"# farm "]
        ),
        st.sampled_from([b"", b"1", b"12345678", b"1234567890", b"x"]),
        st.sampled_from([b"", b" ", b" # SKIP", b"\r", b"\0", b"\xff"]),
    )
)


@settings(deadline=None)
@given(hostile_lines)
def test_whatever_a_scenario_says_the_sums_agree(harness: Path, lines: list[bytes]) -> None:
    done = run(harness, "relay", TOKEN, "64", data=b"\n".join(lines))
    reader = Reader(TOKEN)
    end = next(one for one in reader.feed(done.stdout) if isinstance(one, ScenarioEnd))
    # Only what was stamped for it and is no JSON of the protocol may make a difference.
    assert end.intact or Rejection.FORM in reader.rejected


@settings(deadline=None)
@given(hostile_lines)
def test_both_sides_know_the_same_ktap(harness: Path, lines: list[bytes]) -> None:
    lines = [line.replace(b"\n", b"").replace(b"\0", b"") for line in lines]
    done = run(harness, "ktap", data=b"".join(line + b"\n" for line in lines))
    expected = []
    for line in lines:
        parsed = ktap.parse(line.decode("utf-8", "replace"))
        expected.append(-1 if parsed is None else parsed.depth)
    assert [int(number) for number in done.stdout.split()] == expected


def test_init_compiles_with_the_hosts_library(compiler: str, tmp_path: Path) -> None:
    for name, content in guest.init_sources().items():
        (tmp_path / name).write_bytes(content)
    arguments = guest.init_arguments("x86_64", None)
    subprocess.run([compiler, *WARNINGS, *arguments], cwd=tmp_path, check=True)
    assert (tmp_path / "init").read_bytes()[:4] == b"\x7fELF"


def test_init_is_the_modules_hand_in_user_space(compiler: str, tmp_path: Path) -> None:
    for name, content in guest.init_sources().items():
        (tmp_path / name).write_bytes(content)
    subprocess.run([compiler, *guest.init_arguments("x86_64", None)], cwd=tmp_path, check=True)
    switch = tmp_path / "switch"
    switch.write_text("1")

    def helps(*words: str | Path) -> int:
        return subprocess.run([tmp_path / "init", *words], check=False).returncode

    assert helps("write", switch, "0") == 0
    assert switch.read_text() == "0"
    assert helps("write", tmp_path / "missing", "0") == errno.ENOENT
    assert helps("load", tmp_path / "missing.ko") == errno.ENOENT
    assert helps("unload", "farm_no_such_module") != 0
    assert helps("write", switch) == errno.EINVAL


def test_init_arguments() -> None:
    arguments = guest.init_arguments("i386", "/src/tools/include/nolibc")
    assert "-m32" in arguments
    assert arguments[arguments.index("-include") + 1] == "/src/tools/include/nolibc/nolibc.h"
    with pytest.raises(ScenarioError, match="no architecture 'arm'; known: x86_64, i386"):
        guest.init_arguments("arm", None)


def test_names_that_both_sides_use() -> None:
    source = guest.init_sources()["init.c"].decode()
    module = f"/{guest.MODULES[0]}"
    for name in (guest.PORT_NAME, module, guest.JOB_PATH, guest.BUSYBOX_PATH):
        assert f'"{name}"' in source
    assert f'"{guest.SCRIPT_FOLDER}/"' in source


def test_kbuild_names_every_source() -> None:
    files = guest.module_sources()
    kbuild = files["Kbuild"].decode()
    units = [files[name].decode() for name in files if name.startswith("build_")]
    included = re.findall(r'^#include "(\w+)\.c"$', "".join(units), re.MULTILINE)
    assert len(included) == len(set(included))
    sources = {Path(name).stem for name in files if name.endswith((".c", ".S"))}
    assert sorted(sources - set(included)) == sorted(
        word.removesuffix(".o")
        for word in kbuild.split()
        if word.endswith(".o")
        and word.replace(".o", ".ko") not in guest.MODULES
        and not word.startswith("OBJECT_FILES_")
    )
