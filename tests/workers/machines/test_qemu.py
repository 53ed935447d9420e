# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's monitor, which may be gone, or say what it likes, when it is asked."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from workers import process
from workers.errors import InfrastructureError
from workers.machines import Node, Start, qemu
from workers.machines.accelerator import Accelerator
from workers.sandbox import Sandbox

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}, "capabilities": []}}

STAYS = b"\n\n"
"""How an answer ends after which the monitor waits until it is left."""

Monitor = Callable[[bytes], Path]


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    """Starts a monitor that answers the one question with these bytes, and mostly is gone then."""
    servers = list[threading.Thread]()

    def serve(listening: socket.socket, answer: bytes) -> None:
        with listening, listening.accept()[0] as connection:
            connection.sendall(json.dumps(GREETING).encode() + b"\n")
            connection.recv(4096)
            connection.sendall(b'{"return": {}}\n')
            identity = json.loads(connection.recv(4096))["id"]
            with suppress(BrokenPipeError):  # who asked need not hear an answer to its end
                connection.sendall(answer.replace(b"ID", json.dumps(identity).encode()))
            if answer.endswith(STAYS):
                connection.recv(4096)

    def start(answer: bytes) -> Path:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "qmp"))
        listening.listen()
        servers.append(threading.Thread(target=serve, args=(listening, answer)))
        servers[0].start()
        return tmp_path / "qmp"

    yield start
    for server in servers:
        server.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b'{"return": ',
        b"no JSON\n",
        b"\xff\xfe\n",
        b"[]\n",
        b"[" * 100_000 + b"\n",
        b'{"return": "x", "id": []}\n',
        b'{"error": 1, "id": ID}\n',
        b"x" * (11 << 20) + b"\n",
    ],
    ids=lambda answer: repr(answer[:20]),
)
def test_a_monitor_that_gives_no_answer_ends_no_run(answer: bytes, monitor: Monitor) -> None:
    told = asyncio.run(qemu._registers(monitor(answer)))
    assert told.startswith("QEMU's monitor did not answer: ")


@pytest.mark.parametrize("behind", [STAYS, b"\nno JSON" + STAYS])
def test_an_answer_counts_whatever_comes_behind_it(monitor: Monitor, behind: bytes) -> None:
    answer = b'{"return": "CPU#0 halted=1", "id": ID}'
    assert asyncio.run(qemu._registers(monitor(answer + behind))) == "CPU#0 halted=1"


@pytest.mark.parametrize("said", ["qemu: no such CPU\n", None])
def test_what_qemu_said_is_read_as_carefully_as_all_else(
    said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node("n", "qemu", ("x86_64",), "qemu64", 2, 256, frozenset())
    start = Start("x86_64", tmp_path, tmp_path, (), 2, None, tmp_path)
    monkeypatch.setattr(process, "start", lambda *words, **how: None)
    kind = qemu.Qemu(Sandbox(), Accelerator("tcg", ""), None)
    machine = kind.start(node, start)
    log = tmp_path / "qemu.log"
    if said is not None:
        log.write_text(said)
        assert machine.said() == said.strip()
        return
    log.unlink()
    log.symlink_to("/etc/passwd")
    with pytest.raises(InfrastructureError, match=r"qemu\.log is no plain file any more"):
        machine.said()


def test_a_monitor_that_is_not_there_ends_no_run(tmp_path: Path) -> None:
    told = asyncio.run(qemu._registers(tmp_path / "qmp"))
    assert told.startswith("QEMU's monitor did not answer: ConnectError(")
