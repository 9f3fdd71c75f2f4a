"""The root of the repository, and programs that tests run or put in the place of real ones."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_program(*words: str | Path, **options) -> subprocess.CompletedProcess:
    """Run a program in the root of the repository, or in cwd, and return what it printed."""
    options = {"cwd": ROOT, "capture_output": True, "text": True} | options
    return subprocess.run(words, check=False, **options)


def executable(path: Path, script: str) -> Path:
    """Write a program that stands in for a real one."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
