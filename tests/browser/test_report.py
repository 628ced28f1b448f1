"""The report opens without a complaint and without the network, on a desk, on a phone and on paper."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("width", [1200, 390])
def test_the_report_opens_clean_and_needs_no_sideways_scrolling(
    browser: "Browser", workspace: Workspace, width: int, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    page.goto(Path(workspace.sweep["report"]).as_uri())
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.locator("h2").all_inner_texts()
    assert {"Final comparison", "Learning curves", "Cost", "Families", "Episodes", "Reproduce"} <= set(shown)
    plots = page.locator(".charts svg")
    assert plots.count() >= 10
    for i in range(plots.count()):
        box = plots.nth(i).bounding_box()
        assert box is not None and box["width"] > 250 and box["x"] + box["width"] <= width
    family = page.locator("details:has-text('The last teacher of cards3-turbo_kl-s1')")
    family.locator("summary").click()
    assert family.get_by_text("checkpoint 1").first.is_visible()
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 20_000
    page.close()
