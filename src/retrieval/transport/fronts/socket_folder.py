"""A folder for a Unix socket that only this user may enter, and that a later process removes where a kill left it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "retrieval-front-"
LOCK = "lock"
_BEGUN = "retrieval-begun-"


class SocketFolder:
    """`path` exists until `remove`. Whether its process lives is told by a lock, which ends with it however it ends.

    Raises: OSError where there is no place for temporary files.
    """

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        remove_left(parent)
        begun = Path(tempfile.mkdtemp(prefix=_BEGUN))  # mode 700
        self._lock = (begun / LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # It gets the name that others look for once it is locked.
        self.path = begun.rename(parent / begun.name.replace(_BEGUN, PREFIX, 1))

    def remove(self) -> None:
        """Remove the folder with all that is in it; again, it does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def remove_left(parent: Path) -> None:
    """Remove the folders of this user whose processes are gone."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # somebody else removes it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
