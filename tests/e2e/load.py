"""Sends pictures of several digits over keep-alive connections, and counts every failure.

Usage: load.py URL SECONDS [STOP_FILE]    for example: load.py http://172.18.255.201:5000 10

It ends after SECONDS, or earlier when STOP_FILE exists, prints one line of JSON, and exits with 1
if any request has failed: no connection, no response, another status than 200, or another digit
than the picture's. A reused connection that the server has closed in the meantime is opened again
and the request repeated once, as RFC 9110, section 9.2.2, allows; these are counted as "repeated".
With STOP_FILE, the load runs beside what is tested, and pauses so that it leaves CPU time for that.
"""

import http.client
import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

CONNECTIONS = 4
PAUSE_SECONDS = 0.02  # of each connection between two requests, with STOP_FILE
SAMPLES = Path(__file__).parents[2] / "samples/digits"
PICTURES = [(path.name[0], path.read_bytes()) for path in sorted(SAMPLES.glob("*.png"))]


def failure(connection: http.client.HTTPConnection, digit: str, picture: bytes) -> str | None:
    """Send one picture; return why the answer is not the digit, or None. Raises OSError."""
    connection.request("POST", "/predict", picture, {"Content-Type": "image/png"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        return f"status {response.status}"
    prediction = json.loads(body).get("prediction")
    return None if str(prediction) == digit else f"a {digit} was read as {prediction}"


def send(
    url: str,
    ended: threading.Event,
    counts: Counter,
    latest: list[float],
    timeout: float = 10,
    pause: float = 0,
) -> None:
    """Send pictures over one connection until `ended` is set, counting what happens."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)
    number = 0
    while not ended.is_set():
        digit, picture = PICTURES[number % len(PICTURES)]
        number += 1
        began, reused = time.monotonic(), connection.sock is not None
        try:
            try:
                reason = failure(connection, digit, picture)
            except (BrokenPipeError, ConnectionResetError):
                # RemoteDisconnected, "closed without a response", is a ConnectionResetError too.
                connection.close()
                if not reused:
                    raise
                counts["repeated"] += 1
                reason = failure(connection, digit, picture)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            reason = f"{type(error).__name__}: {error}"
            ended.wait(0.1)
        counts["requests"] += 1
        if reason:
            counts[f"failed: {reason}"] += 1
        latest.append(time.monotonic() - began)
        ended.wait(pause)
    connection.close()


def main() -> int:
    """Run the load; return the exit code."""
    url, seconds = sys.argv[1], float(sys.argv[2])
    stop = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    pause = PAUSE_SECONDS if stop else 0
    ended, counts, latest = threading.Event(), Counter(), []
    threads = [
        threading.Thread(target=send, args=(url, ended, counts, latest, 10, pause))
        for _ in range(CONNECTIONS)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    while time.monotonic() < began + seconds and not (stop and stop.exists()):
        time.sleep(0.1)
    ended.set()
    for thread in threads:
        thread.join()
    failed = sum(count for name, count in counts.items() if name.startswith("failed"))
    summary = {"failed": failed, "seconds": round(time.monotonic() - began, 1)}
    summary |= {"slowest_seconds": round(max(latest, default=0), 2)}
    print(json.dumps(dict(counts) | summary))
    return 1 if failed or not counts["requests"] else 0


if __name__ == "__main__":
    sys.exit(main())
