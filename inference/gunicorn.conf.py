"""How gunicorn runs app.py; it reads this file by itself when started in this folder.

gunicorn                                      here, as the image does
gunicorn -c inference/gunicorn.conf.py        from the repository's root
"""

import logging
import os
from pathlib import Path

# Seconds a client may stall in the middle of a request: gthread itself would wait for ever, and
# a handful of stalled uploads would hold every thread, the health probes' too.
STALL_TIMEOUT = 10
PROBES = ("/healthz", "/readyz")

wsgi_app = "app:create_app()"
pythonpath = str(Path(__file__).parent)
bind = f"0.0.0.0:{os.environ.get('PORT', '5000')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# The forward pass releases the GIL, and a slow upload then holds one of four threads.
threads = 4
# Never preloaded: onnxruntime's threads do not survive a fork.
preload_app = False
# Under the 30 s that Kubernetes gives a Pod between SIGTERM and SIGKILL.
graceful_timeout = 20
keepalive = 5
# The workers' heartbeat files: in memory, where a read-only root or a slow disk cannot stall them.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
# gunicornc is not used, and its socket would need a writable home directory.
control_socket_disable = True
accesslog = "-"
# The path as it was sent: decoded, it could hold a line's end and forge a line.
access_log_format = "%(m)s %({raw_uri}e)s %(s)s %(B)s %(M)sms"


def worth_logging(record: logging.LogRecord) -> bool:
    """Leave answered probes out: at one every few seconds they would bury the real requests."""
    return not (record.args["U"] in PROBES and record.args["s"] == "200")


def on_starting(server) -> None:
    """Called by gunicorn before the workers are forked."""
    server.log.access_log.addFilter(worth_logging)


def pre_request(worker, req) -> None:
    """Called by gunicorn before each request; it makes the socket wait for ever again after it."""
    req.unreader.sock.settimeout(STALL_TIMEOUT)
