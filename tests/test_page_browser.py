"""The status page of a running daemon in Chromium: read, used by clicking and by keyboard, checked by axe-core."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright

from tests.support.daemon import World, a_world, daemon, until_judged, until_seen
from tests.support.page_gallery import FLAGS, SIZES, Scene, empty_scene, rich_scene
from tests.test_expose_server import A_FLAKY_TEST, serving

CHROMIUM = shutil.which("chromium")
BETWEEN = (680, 769, 1000)  # tablets, and windows beside others
HOSTILE = '<img src=x onerror=document.title="ran">\u202e'

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def config(world: World, folder: Path) -> Path:
    path = folder / "k2alert.yml"
    path.write_text(f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{world.url}", token: t, projects: [k2/app], poll_interval: 1s, backfill: 1d}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 200ms
alert_rules:
  - name: red
    condition: consecutive_failures >= 2
    period: 24h
    severity: critical
    by: [project, branch]
    message: "{{{{ labels.branch }}}} is red"
""")
    return path


@asynccontextmanager
async def a_page(folder: Path, *, width: int, scheme: str) -> AsyncIterator[tuple[Page, str]]:
    """A browser's page beside a daemon in which a branch with a hostile name is red."""
    async with a_world() as world, async_playwright() as playwright:
        for minutes in (30, 20, 10):
            world.run("failed", ago=timedelta(minutes=minutes), ref=HOSTILE)
        async with daemon(config(world, folder), world.clock) as running:
            await until_judged(running)
            await until_seen(running, 'k2alert_alerts{rule="red",severity="critical",state="firing"} 1.0')
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            context = await browser.new_context(
                viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
            )
            page = await context.new_page()
            page.set_default_timeout(60_000)
            await page.goto(f"http://127.0.0.1:{running.port}/")
            yield page, f"http://127.0.0.1:{running.port}"
            await browser.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1400, "light")])
async def test_a_silence_is_made_and_ended_by_clicking_and_every_page_on_the_way_is_accessible(
    tmp_path: Path, width: int, scheme: str
) -> None:
    async with a_page(tmp_path, width=width, scheme=scheme) as (page, base):

        async def check() -> None:
            found = await Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert await page.title() != "ran"

        await check()
        await page.get_by_role("link", name="red", exact=True).click()
        await check()
        await page.get_by_role("link", name="Silence", exact=True).click()
        await page.get_by_label("Your name").fill("Ada")
        await page.get_by_label("Why").fill("being fixed")
        await check()
        await page.get_by_role("button", name="Silence", exact=True).click()
        await page.get_by_role("heading", name="being fixed").wait_for()
        await check()
        await page.goto(base)
        await page.get_by_role("link", name="silenced").click()
        await page.get_by_role("button", name="Expire").click()
        await page.get_by_text("expired").wait_for()
        for path in ("/rules", "/rules/red", "/sources", "/flaky", "/notifications"):
            await page.goto(base + path)
            await check()


@pytest.mark.timeout(300)
async def test_every_page_is_accessible_and_fits_the_screen_whatever_is_on_it(tmp_path: Path) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name, make in {"empty": empty_scene, "rich": rich_scene}.items():
            folder = tmp_path / name
            folder.mkdir()
            async with make(folder) as scene:
                found = [
                    (size, scheme, path, said)
                    for size, scheme in zip(SIZES, ("dark", "light"), strict=True)
                    for path, said in (await _faults(browser, scene, size, scheme)).items()
                    if said
                ]
            assert found == []
        await browser.close()


async def _faults(browser: Browser, scene: Scene, size: tuple[int, int], scheme: str) -> dict[str, str]:
    """What is wrong with each page: what axe-core finds, what is wider than the screen, what ran."""
    width, height = size
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True
    )
    page, found = await context.new_page(), {}
    page.set_default_timeout(60_000)
    for name, path in scene.pages.items():
        await page.goto(scene.url + path)
        seen = await Axe().run(page)
        said = seen.generate_report() if seen.violations_count else ""
        for other in (width, *BETWEEN):
            await page.set_viewport_size({"width": other, "height": height})
            if not await page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
                said += f"wider than a screen of {other}"
        await page.set_viewport_size({"width": width, "height": height})
        found[name] = said + ("a script ran" if await page.title() == "ran" else "")
    await context.close()
    return found


async def test_the_keyboard_alone_leads_to_the_content_and_to_an_alert(tmp_path: Path) -> None:
    async with a_page(tmp_path, width=1400, scheme="light") as (page, _):
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to content"
        await page.keyboard.press("Enter")
        for _step in range(12):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.textContent") == "red":
                break
        await page.keyboard.press("Enter")
        await (
            page.get_by_role("heading", name="Who heard")
            .or_(page.get_by_role("heading", name="History", exact=True))
            .first.wait_for()
        )


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1400, "light")])
async def test_a_list_of_flaky_tests_is_accessible_whatever_they_are_called(width: int, scheme: Any) -> None:
    async with serving() as (server, _), async_playwright() as playwright:
        server.flaky_tests = [{**A_FLAKY_TEST, "test": name} for name in ("opens", "x" * 4000, A_FLAKY_TEST["test"])]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
        await page.goto(f"http://127.0.0.1:{server.port}/flaky")
        found = await Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await browser.close()
