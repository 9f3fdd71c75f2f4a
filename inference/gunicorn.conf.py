"""gunicorn's settings, which it reads automatically when it is started in this folder.

gunicorn                                      here, as the image does
gunicorn -c inference/gunicorn.conf.py        from the root of the repository

Environment: PORT (5000), WEB_CONCURRENCY (2 workers), METRICS_PORT (a second port, for /metrics
alone), LOG_FORMAT (text or json), and MODEL_PATH and CORS_ORIGINS, which the application reads.
"""

import os
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

from web.gunicorn_logs import set_formats  # noqa: E402
from web.gunicorn_worker import Worker  # noqa: E402

# Memory, where neither a read-only root nor a slow disk gets in the way.
SHARED_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None

wsgi_app = "app:create_app()"
pythonpath = str(FOLDER)
bind = [f"0.0.0.0:{os.environ.get('PORT', '5000')}"]
if os.environ.get("METRICS_PORT"):
    bind.append(f"0.0.0.0:{os.environ['METRICS_PORT']}")
worker_class = Worker
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# Never preloaded: neither gevent nor onnxruntime can be forked.
preload_app = False
worker_tmp_dir = SHARED_MEMORY
# Seconds that a connection may take for the header of its next request, idle time included.
keepalive = 10
# Less than the 30 s that Kubernetes gives a Pod between SIGTERM and SIGKILL.
graceful_timeout = 20
# gunicornc is not used, and its socket would need a writable home directory.
control_socket_disable = True
accesslog = "-"

# Many systems limit a process to 1,024 open files unless it asks for more; some are for other uses.
_, allowed_files = resource.getrlimit(resource.RLIMIT_NOFILE)
open_files = min(allowed_files, 8192) if allowed_files > 0 else 8192
resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, allowed_files))
worker_connections = open_files // 2

# numpy's threads would compete with the other workers. Set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Set before prometheus_client is imported.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    folder = tempfile.mkdtemp(prefix="mnist-metrics-", dir=SHARED_MEMORY)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder


def on_starting(server) -> None:  # noqa: ANN001
    """Called before the workers are forked."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
    os.makedirs(os.environ["PROMETHEUS_MULTIPROC_DIR"], exist_ok=True)
    set_formats(server.log)


def post_fork(server, worker) -> None:  # noqa: ANN001
    """Called in each new worker, before it installs its own signal handlers.

    Until then it has the master's, which only queue a signal, and a worker does not read the queue:
    it would miss SIGTERM, and the master would wait for it until graceful_timeout.
    """
    signal.signal(signal.SIGTERM, worker.handle_exit)
    while not server.SIG_QUEUE.empty():
        if server.SIG_QUEUE.get_nowait() == signal.SIGTERM:
            worker.alive = False


def child_exit(server, worker) -> None:  # noqa: ANN001
    """Called after a worker has ended."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)


def on_exit(server) -> None:  # noqa: ANN001
    """Called when the last worker has ended."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
