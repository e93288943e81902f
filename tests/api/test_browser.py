"""The pages in a real Chromium; screenshots are kept in build/screenshots."""

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.archives import RECORD, as_zip
from tests.api.conftest import PATIENCE_SECONDS
from tests.api.test_process import Live

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")
pytest.importorskip("axe_playwright_python", reason="axe is not installed (extra `dev`)")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("browser")]
SCREENSHOTS = Path("build/screenshots")
PHONE = {"width": 390, "height": 844}
PATIENCE = PATIENCE_SECONDS * 1000
PLACES = {"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, sorted(PLACES))), None)
    if found is None:
        pytest.skip("no Chromium is installed (Debian and Ubuntu: apt-get install chromium)")
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start for root.
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with three verdicts: two on one folder, one on another."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    live = Live("api", tmp_path_factory.mktemp("browser") / "data")
    for archive in (as_zip(), as_zip(), as_zip(RECORD | {"more.txt": b"x"}, folder="other/")):
        live.wait(live.upload(archive), "state", "finished")
    yield f"http://127.0.0.1:{live.port}"
    live.stop(signal.SIGKILL)


@pytest.fixture
def page(chromium: Browser, site: str) -> Iterator[Page]:
    context = chromium.new_context(base_url=site)
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    yield opened
    context.close()


def shoot(page: Page, name: str) -> None:
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def test_from_the_upload_to_an_applied_rejudge(page: Page, tmp_path: Path) -> None:
    archive = tmp_path / "my_record.zip"
    archive.write_bytes(as_zip(RECORD | {"from.txt": b"the browser"}, folder="my_record/"))
    page.goto("/")
    shoot(page, "home")
    page.get_by_label(re.compile("The folder as")).set_input_files(archive)
    page.get_by_label(re.compile("Read it only")).check()
    page.get_by_role("button", name="Audit").click()
    # The page renews itself until there is a verdict.
    expect(page.get_by_role("heading")).to_have_text("Audit of my_record.zip")
    verdict = page.get_by_text("The verdict is").get_by_role("link")
    expect(verdict).to_be_visible(timeout=PATIENCE)
    shoot(page, "audit")
    verdict.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("my_record")
    shoot(page, "verdict")
    where = page.url
    page.get_by_role("link", name="Full report").click()
    expect(page.get_by_text("Strict Prefix verdict")).to_be_visible()
    shoot(page, "report")
    page.goto(where)

    page.get_by_text("Appeal against a finding").click()
    page.get_by_label("What is wrong with it").fill("The README names the run.")
    page.get_by_role("button", name="Appeal").click()
    expect(page.get_by_text("The README names the run.")).to_be_visible()
    page.get_by_label("Answer").fill("It does; judged again.")
    page.get_by_label("The appeal is right").check()
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_text("It does; judged again.")).to_be_visible()
    shoot(page, "appeal")

    page.goto("/rejudges")
    page.get_by_label("or exactly these, by id").fill(where.rsplit("/", 1)[1].split("#")[0])
    page.get_by_label("Reason").fill("The appeal was right.")
    page.get_by_role("button", name="Judge again").click()
    expect(page.get_by_text("1 finished")).to_be_visible(timeout=PATIENCE)
    shoot(page, "rejudge")
    page.get_by_role("link", name=re.compile("side by side")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("2 submissions compared")
    shoot(page, "compare")
    page.go_back()
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("This set is applied")).to_be_visible()
    page.goto(where)
    expect(page.get_by_text("This verdict is superseded")).to_be_visible()


def pages(page: Page) -> list[str]:
    page.goto("/verdicts")
    one = page.locator("td a.outcome").first.get_attribute("href")
    assert one
    key = one.rsplit("/", 1)[1]
    return [
        "/",
        "/leaderboard",
        "/verdicts",
        one,
        f"/compare?a={key}&b={key}",
        "/rules",
        "/rules/strict-prefix",
        "/appeals",
        "/rejudges",
        "/sign-in",
        "/nothing",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(chromium: Browser, site: str, scheme: str) -> None:
    context = chromium.new_context(base_url=site, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    found = {}
    for where in pages(page):
        page.goto(where)
        violations = Axe().run(page).response["violations"]
        serious = [each for each in violations if each["impact"] in ("serious", "critical")]
        if serious:
            found[where] = [(each["id"], each["nodes"][0]["html"]) for each in serious]
    shoot(page, f"last_{scheme}")
    context.close()
    assert found == {}


def test_a_phone_scrolls_no_page_sideways(chromium: Browser, site: str) -> None:
    context = chromium.new_context(base_url=site, viewport=PHONE, color_scheme="dark")  # type: ignore[arg-type]
    page = context.new_page()
    wide = []
    for number, where in enumerate(pages(page)):
        page.goto(where)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(where)
        shoot(page, f"phone_{number:02}")
    context.close()
    assert wide == []


def test_the_keyboard_alone_gets_everywhere(page: Page, tmp_path: Path) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim().slice(0, 20)"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", seen[-1]
    assert "Leaderboard" in seen
    assert "Audit" in seen


def test_pages_need_no_script_and_load_nothing_from_elsewhere(chromium: Browser, site: str) -> None:
    context = chromium.new_context(base_url=site, java_script_enabled=False)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/leaderboard")
    expect(page.get_by_role("heading", level=1)).to_have_text("Leaderboard")
    page.locator("td a.outcome").first.click()
    expect(page.get_by_role("heading", level=2).first).to_be_visible()
    context.close()
    assert all(url.startswith((site, "data:")) for url in asked), asked
