"""What a kill leaves of the folder of a socket goes at the next start; what is in use stays."""

from __future__ import annotations

import stat
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from retrieval.transport.fronts.socket_folder import PREFIX, SocketFolder

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CODE = """
import os, signal
from retrieval.transport.fronts.socket_folder import SocketFolder
folder = SocketFolder()
(folder.path / "grpcio.sock").touch()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_folders_of_the_killed_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    living = SocketFolder()
    assert stat.S_IMODE(living.path.stat().st_mode) == 0o700
    subprocess.run([sys.executable, "-c", CODE], check=False)
    assert len(list(tmp_path.glob(f"{PREFIX}*"))) == 2
    other = SocketFolder()
    assert set(tmp_path.iterdir()) == {living.path, other.path}
    living.remove()
    other.remove()
    assert not list(tmp_path.iterdir())
