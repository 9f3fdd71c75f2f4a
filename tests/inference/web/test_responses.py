"""What all responses have in common, through Flask's test client: errors, headers, CORS."""

import pytest
from app import create_app
from tiny_model import assert_error, post, two_lines

ORIGIN, OTHER = "https://digits.example", "https://other.example"


def test_an_internal_error_shows_the_client_no_traceback(client, monkeypatch, caplog):
    monkeypatch.setattr("app.read_options", lambda *_: 1 / 0)
    assert_error(post(client, two_lines(1)), 500, "its log says why")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere"])
def test_every_response_has_the_security_headers(client, path):
    with client.get(path) as response:
        headers = response.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_a_browser_asks_each_time_whether_a_file_of_the_page_has_changed(client):
    # Otherwise it could run old and new modules together after an update.
    for name, mimetype in (("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        with client.get(f"/page/{name}") as response:
            assert response.headers["Cache-Control"] == "no-cache"
            assert response.mimetype == mimetype


@pytest.mark.parametrize(
    ("configured", "origin", "allowed"),
    [
        (f"{ORIGIN}, {OTHER}", ORIGIN, True),
        (f"{ORIGIN}, {OTHER}", OTHER, True),
        ("*", OTHER, True),
        (ORIGIN, OTHER, False),
        (ORIGIN, f"{ORIGIN}.evil.example", False),
        (ORIGIN, None, False),
        ("", ORIGIN, False),
    ],
)
def test_only_pages_of_the_configured_origins_may_read_responses(
    model_path, monkeypatch, configured, origin, allowed
):
    monkeypatch.setenv("CORS_ORIGINS", configured)
    client = create_app(model_path).test_client()
    # As a browser asks beforehand whether a page may send a picture.
    response = client.options("/predict", headers={"Origin": origin} if origin else {})
    assert response.status_code == 200
    assert ("Origin" in response.vary) == bool(configured)
    found = {name: text for name, text in response.headers if name.startswith("Access-Control")}
    if not allowed:
        assert found == {}
    else:
        assert found.pop("Access-Control-Allow-Origin") == origin
        assert "POST" in found["Access-Control-Allow-Methods"]
        assert "Content-Type" in found["Access-Control-Allow-Headers"]
        assert "X-Request-ID" in found["Access-Control-Expose-Headers"]
