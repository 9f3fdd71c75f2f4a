"""Runs every query of the Grafana dashboard and of the loaded alerts against a Prometheus.

Usage: prometheus_queries.py URL          for example: prometheus_queries.py http://127.0.0.1:9090

It exits with 1 if a query fails, if no alerts are loaded, if a panel of the dashboard would be
empty, or if a metric that an alert uses does not exist. An alert's own expression may have an empty
result: it does not fire.
"""

import json
import math
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "samples/grafana-dashboard.json").read_text())
# What Grafana puts in for four times the scrape interval of prometheus.yml.
RATE_INTERVAL = "1m"


def values(url: str, query: str) -> list[float]:
    """Return the values of an instant query without the NaNs. Raises ValueError if it fails."""
    data = urllib.parse.urlencode({"query": query}).encode()
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query", data, timeout=10) as response:
            result = json.load(response)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise ValueError(json.load(error)["error"]) from error
    found = [float(series["value"][1]) for series in result]
    return [value for value in found if not math.isnan(value)]


def queries(url: str) -> list[tuple[str, str, bool]]:
    """Return the name and the text of each query, and whether its result must not be empty."""
    found = [
        (panel["title"], target["expr"].replace("$__rate_interval", RATE_INTERVAL), True)
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]
    with urllib.request.urlopen(f"{url}/api/v1/rules?type=alert", timeout=10) as response:
        groups = json.load(response)["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    if not rules:
        sys.exit("no alerts are loaded")
    for rule in rules:
        found.append((rule["name"], rule["query"], False))
        names = set(re.findall(r"\b(?:mnist_\w+|up)\b(?=[{\[)])", rule["query"]))
        found += [(rule["name"], f"count({name})", True) for name in sorted(names)]
    return found


def main() -> int:
    """Run the queries, print the failures and a summary; return the exit code."""
    url, failures = sys.argv[1], 0
    all_queries = queries(url)
    for name, query, needs_data in all_queries:
        try:
            problem = "no data" if not values(url, query) and needs_data else None
        except ValueError as error:
            problem = error
        if problem:
            failures += 1
            print(f"{name}: {problem}: {query}")
    print(f"{len(all_queries)} queries, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
