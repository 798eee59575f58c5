"""The status page of a daemon that has seen a lot, page by page, as pictures to look at: `make gallery`.

Two forges with a week of made-up history, every shipped rule, reds, names that are hostile and names that are long, a
forge whose token is no longer good, silences of every state, and receivers of which one is not there.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from playwright.async_api import Browser, async_playwright

from k2alert.model import NameOfTest, TestCase, TestReport
from k2alert.record import open_store
from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinPipeline
from k2alert.rehearse.history import make_history
from k2alert.rehearse.loopback import serve_web
from k2alert.rehearse.shapes import PROJECTS
from k2alert.times import iso
from tests.support.daemon import Clock, Running, daemon
from tests.support.looks import T0, finished_run
from tests.support.reported import execution
from tests.support.slack import TOKEN, stand_in_slack

MINUTE = timedelta(minutes=1)
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SIZES = ((390, 844), (1400, 900))
HOSTILE = '<img src=x onerror=document.title="ran"> <!channel> {{ 7*7 }} \u202egnp.exe\r\nX: y'
LONG = "feature/" + "-".join(["make-it-so-that-nobody-has-to-scroll"] * 200)
DEEP = "platform/infrastructure/continuous-integration/runners/autoscaling/controller-manager-operator"

CONFIG = """
sources:
  - {{type: gitlab, name: gitlab, url: "{gitlab}", token: t, projects: {projects}, poll_interval: 1s, backfill: 8d}}
  - {{type: gitlab, name: subsidiary, url: "{other}", token: good, projects: [sub/one, sub/two, sub/gone],
      poll_interval: 1s, backfill: 1d, max_staleness: 3s}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 500ms
web: {{external_url: "https://k2alert.test"}}
rule_files: ["{rules}/*.yml", more.yml]
project_labels:
  - {{labels: {{team: platform}}}}
  - {{match: ['project=~"shop/.*"'], labels: {{team: shop}}}}
  - {{match: ['project=~"mobile/.*"'], labels: {{team: mobile}}}}
receivers:
  - name: team
    slack: {{bot_token: {token}, api_url: "{slack}", channel: "#ci"}}
  - name: on-call
    webhook: {{url: "http://127.0.0.1:9/not-there"}}
  - {{name: night, slack: {{bot_token: {token}, api_url: "{slack}", channel: "#qa"}}}}
route:
  receiver: team
  group_wait: 0s
  group_interval: 1s
  routes:
    - {{name: pages, matchers: ['severity="critical"'], receiver: on-call, continue: true}}
    - {{name: shop, matchers: ['team="shop"'], receiver: night, mute_time_intervals: [always], continue: true}}
    - {{name: everything, receiver: team}}
time_intervals: [{{name: always, time_intervals: [{{times: [{{start_time: "00:00", end_time: "24:00"}}]}}]}}]
inhibit_rules:
  - {{source_matchers: [alertname="main_is_red"], target_matchers: [alertname="jobs_fail"], equal: [project]}}
"""
RULES = """
alert_rules:
  - name: branch_is_red
    condition: consecutive_failures >= 2
    period: 24h
    severity: info
    by: [project, branch]
    message: "{{ labels.branch }} of {{ labels.project }} is red: {{ consecutive_failures }} runs in a row"
    annotations: {runbook_url: "https://handbook.test/ci/branch-is-red"}
  - name: jobs_fail
    condition: failed_jobs > 0
    period: 24h
    severity: warning
    for: 10h
    message: "{{ failed_jobs }} jobs failed"
  - name: nobody_measures_this
    condition: coverage < 75
    period: 24h
    severity: info
    message: "Coverage is {{ coverage }}"
"""


FLAKY = {  # on how many days ago
    NameOfTest("checkout.e2e.test_payment", "pays by card [3-D Secure]"): (1, 2, 4, 5, 9),
    NameOfTest("checkout.e2e.test_basket", "keeps two tabs apart"): (3, 6),
    NameOfTest("checkout.e2e.test_login", "comes back to the page it came from"): (
        12,
    ),  # on how many days ago: recovered
    NameOfTest(HOSTILE, HOSTILE): (2,),
    NameOfTest(DEEP, LONG[:250]): (1,),
}


@dataclass(frozen=True)
class Scene:
    """A running daemon, and where its pages are: a name of each, and its address from the top."""

    running: Running
    pages: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.running.port}"


@asynccontextmanager
async def rich_scene(folder: Path) -> AsyncIterator[Scene]:
    """The daemon that has seen a lot."""
    clock, gitlab, other = Clock(), StandinGitLab(Clock().now), StandinGitLab(Clock().now, token="good")
    _fill(gitlab, other, clock.now())
    async with serve_web(gitlab.app()) as first, serve_web(other.app()) as second, stand_in_slack() as slack:
        names = [*(shape.path for shape in PROJECTS), DEEP]
        rules = Path(__file__).parents[2] / "rules"
        (folder / "more.yml").write_text(RULES)
        config = folder / "k2alert.yml"
        places = {"gitlab": first, "other": second, "slack": slack.api_url, "rules": rules, "folder": folder}
        config.write_text(CONFIG.format(**places, projects=names, token=TOKEN))
        await _flaky(folder, clock.now())
        async with daemon(config, clock) as running:
            await _key_of(running, alertname="main_is_red", source="subsidiary")
            other.token = "another"
            await _silence(running, clock.now())
            yield Scene(running, await _pages(running))


@asynccontextmanager
async def empty_scene(folder: Path) -> AsyncIterator[Scene]:
    """A daemon with nothing configured."""
    config = folder / "k2alert.yml"
    config.write_text(f"alert_rules: []\nstore: sqlite:///{folder}/k2alert.db\nevaluation_interval: 1s\n")
    async with daemon(config, Clock()) as running:
        paths = {"alerts": "/", "rules": "/rules", "sources": "/sources", "flaky": "/flaky", "silences": "/silences"}
        while "not been judged" in await running.text("/"):
            await asyncio.sleep(0.1)
        yield Scene(running, {f"empty-{name}": path for name, path in {**paths, "sent": "/notifications"}.items()})


def _fill(gitlab: StandinGitLab, other: StandinGitLab, now: datetime) -> None:
    for shape in PROJECTS:
        gitlab.add_project(shape.path, default_branch=shape.default_branch)
    for start, pipeline in make_history(7, now=now).items():
        if start.path != "shop/checkout" or start.at < now - timedelta(hours=2):  # it is red now
            gitlab.put(start.path, pipeline)
    gitlab.add_project(DEEP)
    _reds(gitlab, "shop/checkout", now, ["main"] * 4, number=900_000)
    _reds(gitlab, DEEP, now, [HOSTILE, HOSTILE, LONG, LONG, "main", "main", "main"], number=910_000)
    for path in ("sub/one", "sub/two"):
        _reds(other, other.add_project(path).path, now, ["main"] * 3, number=2000 if path == "sub/one" else 3000)


def _reds(forge: StandinGitLab, path: str, now: datetime, refs: Iterable[str], *, number: int) -> None:
    for place, ref in enumerate(refs, start=1):
        finished = now - timedelta(minutes=60 - 5 * place)
        times = {"created_at": finished - timedelta(minutes=5), "started_at": finished - timedelta(minutes=4)}
        title = HOSTILE if ref == HOSTILE else "Round vouchers down, not up"
        run = {"id": number + place, "status": "failed", "ref": ref, "title": title, "sha": f"{place:x}" * 40}
        forge.put(path, StandinPipeline(**run, **times, finished_at=finished))  # type: ignore[arg-type]


async def _flaky(folder: Path, now: datetime) -> None:
    """Two weeks of test reports, as a daemon before this one has read them."""
    names = [NameOfTest(f"checkout.basket.test_{number}", "adds up") for number in range(60)]
    store = open_store(f"sqlite:///{folder}/k2alert.db")
    for day in range(1, 15):
        ended = now - timedelta(days=day)
        commit = finished_run(f"flaky-{day}", (ended - T0) / MINUTE, project="shop/checkout", sha=f"{day:x}" * 40)
        await store.save([commit])
        broken = [name for name, days in FLAKY.items() if day in days]
        for attempt, failed in enumerate((broken, []), start=1):
            passed = tuple(name for name in (*names, *FLAKY) if name not in failed)
            cases = tuple(TestCase(suite=suite, test=test, message="AssertionError") for suite, test in failed)
            by = execution(
                commit.id, ended + attempt * MINUTE, job="test_e2e", attempt=attempt, project="shop/checkout"
            )
            total = len(passed) + len(cases)
            await store.save_facts(
                [TestReport(by=by, total=total, failed=len(cases), named=True, cases=cases, passed=passed)]
            )
    await store.close()


async def _silence(running: Running, now: datetime) -> None:
    """A silence of each state."""
    url = f"http://127.0.0.1:{running.port}/api/v2/silences"
    for matcher, starts, ends, comment in (
        ("nobody_measures_this", 0, 600, "Nobody reads coverage here yet, see the plan for the next quarter. " * 4),
        ("jobs_fail", 60, 120, "The runners move to another building"),
        ("branch_is_red", 0, 120, HOSTILE),
    ):
        body = {
            "matchers": [{"name": "alertname", "value": matcher, "isRegex": False, "isEqual": True}],
            "startsAt": iso(now + timedelta(minutes=starts)),
            "endsAt": iso(now + timedelta(minutes=ends)),
            "createdBy": "Ada Lovelace",
            "comment": comment,
        }
        async with running.session.post(url, json=body) as answer:
            made = await answer.json()
    async with running.session.get(url) as answer:
        first = next(one for one in await answer.json() if one["comment"].startswith("Nobody"))
    async with running.session.delete(f"{url[:-1]}/{first['id']}") as answer:
        assert answer.status == 200, made


async def _key_of(running: Running, **wanted: str) -> str:
    """The key of an alert whose labels begin so, as soon as there is one."""
    while True:
        for alert in await running.alerts():
            labels, more = alert["labels"], alert["k2alert"]
            assert isinstance(labels, dict)
            assert isinstance(more, dict)
            if all(labels.get(name, "").startswith(value) for name, value in wanted.items()):
                return str(more["fingerprint"])
        await asyncio.sleep(0.2)


async def _pages(running: Running) -> dict[str, str]:
    red = await _key_of(running, alertname="main_is_red", project="shop/checkout")
    hostile = await _key_of(running, alertname="branch_is_red", branch="<img")
    long = await _key_of(running, alertname="branch_is_red", branch="feature/")
    pending = await _key_of(running, alertname="jobs_fail")
    await _key_of(running, alertname="K2AlertSourceStale")
    return {
        "alerts": "/",
        "alerts-pending": "/?state=pending",
        "alerts-filtered": "/?filter=" + quote('team="shop", alertname=~"main.*"'),
        "alerts-mistaken": "/?filter=" + quote('team=~"("'),
        "alert-red": f"/alerts/{red}",
        "alert-hostile": f"/alerts/{hostile}",
        "alert-long": f"/alerts/{long}",
        "alert-pending": f"/alerts/{pending}",
        "rules": "/rules",
        "rule": "/rules/pipeline_success_rate_low",
        "rule-by-branch": "/rules/branch_is_red",
        "rule-no-data": "/rules/nobody_measures_this",
        "sources": "/sources",
        "flaky": "/flaky",
        "silences": "/silences",
        "silence-new": f"/silences/new?alert={red}",
        "sent": "/notifications",
        "sign-in": "/sign-in",
        "not-here": "/nope",
    }


async def take_pictures(browser: Browser, scene: Scene, folder: Path, only: str = "") -> None:
    """Every page, light and dark, as a phone and as a desk shows it."""
    for scheme in ("light", "dark"):
        for width, height in SIZES:
            page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
            for name, path in scene.pages.items():
                if only in name:
                    await page.goto(scene.url + path)
                    await page.screenshot(path=str(folder / f"page-{name}.{width}.{scheme}.png"), full_page=True)
            await page.close()


async def main(folder: Path, only: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for make in (empty_scene, rich_scene):
            with tempfile.TemporaryDirectory() as inside:
                async with make(Path(inside)) as scene:
                    await take_pictures(browser, scene, folder, only)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:3]))
