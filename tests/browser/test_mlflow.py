"""MLflow's own pages make a comparison without any set-up, and a teacher's page leads to its members."""

from typing import TYPE_CHECKING

import pytest

from gtr_core.util.files import read_json
from tests.browser.conftest import SLOW_MS, Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
METRIC = "agent/distinct_2"  # among the first: further down the table draws rows only as one scrolls


@pytest.fixture
def page(browser: "Browser") -> "Page":
    opened = browser.new_page(viewport={"width": 1400, "height": 950})
    opened.set_default_timeout(SLOW_MS)
    return opened


def test_sft_and_kl_are_selected_and_their_curves_compared(page: "Page", workspace: Workspace) -> None:
    """The runs are flat: one row each, ticked in the table, side by side after one click."""
    page.goto(f"{workspace.mlflow}/#/experiments/1/runs?workflowType=machine_learning")
    for method in ("turbo_sft", "turbo_kl"):
        page.locator(f".ag-row:has-text('cards3-{method}-s1') input[type=checkbox]").first.check()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("Comparing 2 Runs from 1 Experiment").first.wait_for()
    page.get_by_role("link", name=METRIC, exact=True).click()
    for method in ("turbo_sft", "turbo_kl"):
        page.get_by_text(f"cards3-{method}-s1 ({METRIC})").first.wait_for()
    lines = page.locator(".js-plotly-plot .scatterlayer .trace path.js-line")
    lines.first.wait_for(state="attached")
    assert lines.count() >= 2, "a curve each, which in runs this small may be the same"


def test_the_link_that_a_sweep_prints_shows_its_runs_on_shared_charts(page: "Page", workspace: Workspace) -> None:
    link = workspace.sweep["mlflow"].replace("http://127.0.0.1:5000", workspace.mlflow)
    page.goto(link)
    for method in ("turbo_sft", "turbo_kl"):
        page.get_by_role("link", name=f"cards3-{method}-s1").first.wait_for()
        page.get_by_text(f"cards3-{method}-s1 ({METRIC})").first.wait_for(state="attached")
    assert page.get_by_text("2 matching runs").is_visible()


def test_a_registered_teacher_names_its_members_which_have_pages_of_their_own(
    page: "Page", workspace: Workspace
) -> None:
    key = next(cell["run"] for cell in workspace.sweep["cells"] if "turbo_kl" in cell["run"])
    record = read_json(workspace.home / "runs" / key / "record.json")
    version = record["teacher"]["uri"].rpartition("/")[2]
    page.goto(f"{workspace.mlflow}/#/models/gtr-teacher-cards3?workflowType=machine_learning")
    page.get_by_role("link", name=f"Version {version}", exact=True).click()
    page.get_by_role("heading", name=f"Version {version}").wait_for()  # the list of versions shows tags as well
    page.get_by_text("gtr.members", exact=True).wait_for()
    for tag in ("gtr.merge", "gtr.density", "gtr.weights", "gtr.sha256"):
        assert page.get_by_text(tag, exact=True).is_visible()
    members = page.locator("tr:has-text('gtr.members') td").nth(1).inner_text().strip().split(",")
    assert len(members) == sum(stage["stage"] == "update" for stage in record["stages"]), "all checkpoints"
    for iteration, member in enumerate(members, 1):
        page.goto(f"{workspace.mlflow}/#/experiments/1/models/{member}?workflowType=machine_learning")
        page.get_by_role("heading", name=f"agent-{iteration}").first.wait_for()
