"""How gunicorn's log lines look: text, or with LOG_FORMAT=json one JSON object per line.

Used by gunicorn.conf.py:  set_formats(server.log)
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime

PROBES = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
LOG_FORMAT = os.environ.get("LOG_FORMAT", "text")
if LOG_FORMAT not in ("text", "json"):
    sys.exit(f"LOG_FORMAT is {LOG_FORMAT!r}: set it to text or json.")


def set_formats(log) -> None:  # noqa: ANN001
    """Set the formats of gunicorn's two logs, and keep answered probes out of the access log."""
    as_json = LOG_FORMAT == "json"
    for handler in log.access_log.handlers:
        handler.setFormatter(AccessFormatter(as_json))
        handler.addFilter(is_not_a_passed_probe)
    if as_json:
        for handler in log.error_log.handlers:
            handler.setFormatter(ErrorFormatter())


def is_not_a_passed_probe(record: logging.LogRecord) -> bool:
    """Return whether to log a request: probes every few seconds would hide the others."""
    return not (record.args["U"] in PROBES and record.args["s"] == "200")


class AccessFormatter(logging.Formatter):
    """Formats a request: time, client, request id, request, status, ms, bytes and predictions."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        atoms = record.args
        fields = {
            "time": timestamp(record),
            "client": atoms["h"],
            "request_id": atoms["{x-request-id}o"],
            "method": atoms["m"],
            # As it was sent: decoded, it could contain a line break and forge a line.
            "path": atoms["{raw_uri}e"],
            "status": int(atoms["s"]),
            "bytes": atoms["B"],
            "milliseconds": round(atoms["D"] / 1000, 1),
            "predictions": atoms["{mnist.predictions}e"],
        }
        if self.as_json:
            return json.dumps(fields)
        # Control characters could change what a terminal shows.
        fields["path"] = ascii(fields["path"])[1:-1]
        return " ".join(map(str, fields.values()))


class ErrorFormatter(logging.Formatter):
    """Formats everything else."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": timestamp(record),
            "level": record.levelname.lower(),
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def timestamp(record: logging.LogRecord) -> str:
    """Return the time of a record in UTC (RFC 3339)."""
    time = datetime.fromtimestamp(record.created, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
