"""Takes the screenshots of the README from a running server, and saves them in docs/img.

python scripts/screenshots.py http://localhost:5000      (from the root of the repository)
Needs the packages of requirements-dev.txt and Chromium, on the PATH or named by CHROMIUM.
"""

import base64
import html
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "inference" / "page"))
from pen import PHONE, chromium, draw, expect_answer

FOLDER = ROOT / "docs" / "img"
SAMPLE = Path("samples/digits/7.png")
DESKTOP = {"viewport": {"width": 1100, "height": 760}}
PICTURES = {
    "page.png": (7, DESKTOP),
    "page-dark.png": (5, {**DESKTOP, "color_scheme": "dark"}),
    "page-phone.png": (3, {**PHONE, "device_scale_factor": 2}),
}


def request_html(base: str) -> str:
    """Return HTML with a sample, the curl command that sends it, and the server's answer."""
    command = ["curl", "-s", "-X", "POST", "-F", f"file=@{SAMPLE}", f"{base}/predict"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    picture = base64.b64encode(SAMPLE.read_bytes()).decode()
    shown = f'$ curl -X POST -F "file=@{SAMPLE}" {base}/predict\n{answer}'
    return f"""<style>
      body {{ margin: 0; padding: 24px; display: flex; gap: 24px; align-items: center }}
      body {{ background: #0d1117; color: #e6edf3; width: 1052px }}
      img {{ width: 150px; border-radius: 8px }}
      pre {{ font: 17px/1.7 ui-monospace, monospace; margin: 0; white-space: pre-wrap }}
    </style><img src="data:image/png;base64,{picture}"><pre>{html.escape(shown)}</pre>"""


def main(base: str) -> None:
    """Save a request with its answer, and the page with a digit in each of PICTURES."""
    FOLDER.mkdir(exist_ok=True)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1100, "height": 198}, device_scale_factor=2)
        page.set_content(request_html(base))
        page.screenshot(path=FOLDER / "request.png")
        for name, (digit, options) in PICTURES.items():
            page = browser.new_page(**options)
            page.goto(base)
            draw(page, digit)
            expect_answer(page, str(digit))
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(300)  # The bars are animated for 150 ms.
            page.screenshot(path=FOLDER / name, full_page=True)
            print(FOLDER / name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/screenshots.py http://localhost:5000")
    main(sys.argv[1])
