"""What a training process in a Pod needs: exit codes, signals, threads, a lock, files, checkpoints.

Importing it is quick: torch is imported by the functions that need it, because signals must be
handled and the number of threads be chosen before torch is there.
"""

import errno
import fcntl
import hashlib
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import click

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A full disk, an exceeded quota, a read-only file system, missing permissions.
NO_RETRY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


class Failure(click.ClickException):
    """Ends a command with one line on standard error and this exit code (see train.py)."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code

    def show(self, file: TextIO | None = None) -> None:
        """Print the message as click does, after the name of the command."""
        click.echo(f"{Path(sys.argv[0]).stem}: {self.message}", file or sys.stderr)


@contextmanager
def explained_file_errors() -> Iterator[None]:
    """Turn an OSError inside the block into a Failure, which says whether retrying can help."""
    try:
        yield
    except OSError as error:
        code = os.EX_CANTCREAT if error.errno in NO_RETRY else os.EX_IOERR
        raise Failure(str(error), code) from error


def end_at_once() -> None:
    """From now on, SIGTERM and SIGINT end the process with 128 + N, also if it is PID 1.

    The kernel drops these signals for PID 1 as long as there is no handler.
    """
    for number in ENDING_SIGNALS:
        signal.signal(number, lambda number, _frame: os._exit(128 + number))


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Inside the block, SIGTERM and SIGINT only extend the list, so that a step can be finished."""
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _frame: received.append(number))
        for number in ENDING_SIGNALS
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def choose_thread_count(limit: Path = Path("/sys/fs/cgroup/cpu.max")) -> None:
    """Set OMP_NUM_THREADS to the CPUs of a container, unless it is set or there is no limit.

    OpenMP knows which CPUs a process may use, but not how much of their time (`docker --cpus`).
    """
    try:
        quota, period = limit.read_text().split()
    except FileNotFoundError:
        return
    if quota != "max":
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, int(quota) // int(period))))


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file in the same folder, sync it and rename it to `path`.

    Raises OSError, which names `path` even if the system call that failed does not.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # whatever the umask is: the server may run as another user
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync_folder(folder: Path) -> None:
    """Make renames and new names in the folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Create the folder and hold its lock, waiting while another process does.

    Deletes what killed processes left of write_atomically(). The kernel releases the lock when the
    process ends, however it ends. Raises Failure if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise Failure(f"cannot write to {folder}: {error}", os.EX_CANTCREAT) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that is using {folder}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        for path in folder.glob(".*.tmp"):
            path.unlink()
        yield


def checkpoint_path(folder: Path, options: dict[str, object]) -> Path:
    """The checkpoint of a run with these options and this code.

    Its name contains all of them, so runs never overwrite each other's.
    """
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return folder / f"checkpoint-{digest.hexdigest()[:12]}.pt"


def save_tensors(path: Path, content: dict[str, object]) -> None:
    """Write what torch.load() reads again; raises OSError."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def save_checkpoint(path: Path, step: int, network: Any, sgd: Any, history: list[dict]) -> None:
    """Store the network and its optimizer after `step` steps, and the metrics so far."""
    states = {"network": network.state_dict(), "optimizer": sgd.state_dict()}
    save_tensors(path, {"step": step, "history": history, **states})


def resume(path: Path, content: bytes, network: Any, sgd: Any) -> tuple[int, list[dict]]:
    """Restore the network and its optimizer; returns the steps done and the metrics so far.

    `content` is that of `path`. If it is empty or unusable, nothing has been done.
    """
    import torch

    if not content:
        return 0, []
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # torch.load raises many kinds of them for a damaged file
        print(f"{path} cannot be used: training from the start", flush=True)
        return 0, []
    network.load_state_dict(state["network"])
    sgd.load_state_dict(state["optimizer"])
    print(f"resuming from {path} after step {state['step']}", flush=True)
    return state["step"], state["history"]
