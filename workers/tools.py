# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of the host that some scenarios need in the guest, with the libraries they load.

They are big, so they travel in an archive of their own that only the boots of these scenarios get.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from workers import process
from workers.cpio import Entry
from workers.errors import InfrastructureError

_LOADED = re.compile(r"^\t(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)


def files(program: str) -> tuple[Path, ...]:
    """Return a program's path and those of all that its loader maps, in the loader's words.

    Empty when it is not installed. InfrastructureError when a library is missing.
    """
    found = shutil.which(program)
    if found is None:
        return ()
    said = process.output(["ldd", found]).decode(errors="replace")
    if "not found" in said:
        raise InfrastructureError(f"{program} misses a library: {' '.join(said.split())[:300]}")
    return (Path(found), *(Path(path) for path in _LOADED.findall(said)))


def digests(programs: Iterable[str]) -> Mapping[str, str]:
    """Return a digest of each program that is installed: of all its files."""
    return {name: _digest(there) for name in sorted(set(programs)) if (there := files(name))}


def _digest(there: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in there:
        content = path.read_bytes()
        digest.update(f"{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def entries(programs: Sequence[str]) -> Iterator[Entry]:
    """Return what the guest gets: each file at its place, and the folders above."""
    paths = dict.fromkeys(path for program in programs for path in files(program))
    above = {
        str(folder)
        for path in paths
        for folder in PurePosixPath(path).relative_to("/").parents
        if folder.name
    }
    for folder in sorted(above):
        yield Entry(folder, stat.S_IFDIR | 0o755)
    for path in paths:
        yield Entry(str(path).lstrip("/"), stat.S_IFREG | 0o755, path.read_bytes())
