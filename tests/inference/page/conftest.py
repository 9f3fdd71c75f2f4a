"""Chromium, and the page of a real server in it."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from gunicorn_server import running
from pen import chromium, find_chromium
from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def serve(tmp_path_factory) -> Callable[[Path], AbstractContextManager[str]]:
    """serve(model_path) runs the real server for the length of a with block; gives its URL."""

    @contextmanager
    def serve(model_path: Path) -> Iterator[str]:
        with running(tmp_path_factory.mktemp("server"), MODEL_PATH=str(model_path)) as server:
            yield server.url

    return serve


@pytest.fixture(scope="session")
def server(serve, model_file) -> Iterator[str]:
    """The URL of a real server with the model of `model_file`."""
    with serve(model_file) as url:
        yield url


# Not for the whole session: Playwright keeps an event loop running, which disturbs other tests.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A running Chromium. Without one, the tests that use it fail in CI and skip elsewhere."""
    if not find_chromium():
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop("needs Chromium, from the package chromium or named by CHROMIUM")
    with chromium() as browser:
        yield browser


@pytest.fixture
def problems() -> list[str]:
    """What the pages of a test must not do: errors, CSP violations, requests to other servers."""
    return []


@pytest.fixture
def open_page(browser, problems) -> Iterator[Callable[..., Page]]:
    """open_page(url, **options) opens the page in a new context; the test fails on `problems`."""
    contexts = []
    # Chromium reports each 4xx and 5xx on the console, and some tests provoke them.
    expected = ["data:", "blob:", "Failed to load resource: the server responded with a status of"]

    def open_page(url: str, **options) -> Page:
        expected.append("/".join(url.split("/")[:3]) + "/")
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: line.type == "error" and problems.append(line.text))
        page.on("request", lambda request: problems.append(request.url))
        # Without a listener from the start, a dialog can open before Playwright looks for it.
        page.on("filechooser", lambda chooser: None)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [problem for problem in problems if not problem.startswith(tuple(expected))] == []


@pytest.fixture
def page(open_page, server) -> Page:
    """The page of `server`, in a window of the default size."""
    return open_page(server)
