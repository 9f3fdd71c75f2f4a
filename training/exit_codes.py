"""The exit codes of train.py, each with one message on standard error.

The Jobs' podFailurePolicy depends on them.
"""

import errno
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import torch
from corrections_files import CorrectionsError
from distributed import RanksLost, end_all, joined, rank
from files import locked
from mnist import DownloadError
from publish import PublishError

# A full disk, an exceeded quota, a read-only file system, missing permissions.
NO_RETRY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def run_or_explain(run: Callable[[], None], output_dir: Path, device: torch.device) -> int:
    """Call run() in all ranks, which end with the same exit code; returns it."""
    try:
        with joined(device) as store:
            code = run_locked(run, output_dir) if rank() == 0 else explained(run)
            end_all(store, code)
            return code
    except RanksLost as error:
        return fail(error.exit_code, error)


def run_locked(run: Callable[[], None], output_dir: Path) -> int:
    """Call run() with the lock of the output folder held; returns the exit code."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        # Better to fail now than after a minute of training.
        tempfile.TemporaryFile(dir=output_dir).close()
    except OSError as error:
        return fail(os.EX_CANTCREAT, f"cannot write to the output folder: {error}")
    with locked(output_dir / ".lock"):
        return explained(run)


def explained(run: Callable[[], None]) -> int:
    """Call run(), and print what went wrong; returns the exit code."""
    try:
        run()
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except DownloadError as error:
        return fail(error.exit_code, error)
    except CorrectionsError as error:
        return fail(os.EX_DATAERR, error)
    except PublishError as error:
        return fail(os.EX_SOFTWARE, error)
    except OSError as error:
        return fail(os.EX_CANTCREAT if error.errno in NO_RETRY else os.EX_IOERR, error)
    return os.EX_OK


def fail(code: int, problem: object) -> int:
    """Print what went wrong to standard error and return the exit code."""
    print(f"train: {problem}", file=sys.stderr)
    return code
