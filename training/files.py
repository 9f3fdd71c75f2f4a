"""Writes files that no reader ever finds half written, not even after a crash; locks a folder."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGED = ".publishing"


def sync_folder(folder: Path) -> None:
    """Make renames and new names in the folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file in the same folder, sync it and rename it to `path`.

    Raises OSError, which names `path` even if the system call that failed does not.
    """
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp creates files with mode 0600, but the server may run as another user.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def publish_together(folder: Path, files: dict[str, bytes]) -> None:
    """Replace several files of `folder` so that a crash cannot leave old and new ones mixed.

    They are first written to a folder beside their destination. Renaming that folder is the point
    of no return: if the process dies later, finish_publishing() completes the work.
    """
    with tempfile.TemporaryDirectory(".tmp", ".publish.", folder) as parent:
        staged = Path(parent) / "files"
        staged.mkdir()
        for name, content in files.items():
            write_atomically(staged / name, content)
        os.replace(staged, folder / STAGED)
    finish_publishing(folder)


def finish_publishing(folder: Path) -> None:
    """Complete a publish_together() that was interrupted after its point of no return."""
    staged = folder / STAGED
    if not staged.exists():
        return
    for path in sorted(staged.iterdir()):
        os.replace(path, folder / path.name)
    sync_folder(folder)
    staged.rmdir()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on this file, waiting while another process holds it; raises OSError.

    The kernel releases the lock when the process ends, however it ends.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that is using {path.parent}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove_temporary_files(folder: Path) -> None:
    """Delete what killed processes left behind; call it with the folder's lock held."""
    for path in folder.glob(".*.tmp"):
        if path.is_dir():
            for file in sorted(path.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            path.rmdir()
        else:
            path.unlink()
