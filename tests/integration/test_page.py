# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML page in a real browser: it opens from a file, answers first, fits every screen and sheet, sorts, filters and prints."""

import base64
import json
import random
import re
import subprocess
import tempfile
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
import yaml
from ansible_collections.coldstore.ebs.plugins.module_utils.common.estate import IMAGES, Binned, Estate, Known, NotAsked
from ansible_collections.coldstore.ebs.plugins.module_utils.common.snapshot import Snapshot
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import advice, lineage, locate, moves, prices, reports
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import costs
from bills import Bill
from conftest import REPO
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

BLOCK = 512 * 1024
TODAY = date(2026, 11, 21)
REGION = "eu-west-1"
ACCOUNT = "111111111111"
FILES = REPO / "roles/cost_report/files"
HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror=document.title="owned"> & "quotes" ☃'
WIDTHS = (390, 768, 1280, 1920)
PAPER = (718, 1046)  # CSS pixels between the margins of A4, upright and across


@cache
def template():
    """The page as the role puts it together: its own expression, in Ansible's hands."""
    tasks = yaml.safe_load((FILES.parent / "tasks" / "main.yml").read_text())
    page = next(each["vars"]["cost_report_page"] for each in tasks if "cost_report_page" in each.get("vars", {}))
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "files").symlink_to(FILES)
        play, written = Path(directory, "page.yml"), Path(directory, "page.html")
        task = {"ansible.builtin.copy": {"content": page, "dest": str(written)}}
        play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": [task]}]))
        subprocess.run([REPO / ".build/venv/bin/ansible-playbook", play], check=True, capture_output=True)
        return written.read_text()


class Made:
    """A page as the module writes it, of volumes that `snapshot` adds to."""

    def __init__(self, directory, month="2026-10", delivered=0, today=TODAY):
        self.directory, self.today = directory, today
        self.bill = Bill(month, days=delivered)
        self.known, self.living, self.fast, self.binned = [], {}, {}, {}

    def snapshot(self, volume, number, size_gib, blocks, start, text="", tags=None, days=None, lives=False, net=None):
        """One of so many blocks, of a volume that has so many GiB."""
        snapshot_id = f"snap-{number:017x}"
        self.bill.snapshot(snapshot_id, blocks, days=days, region=REGION, net=net)
        snapshot = Snapshot(snapshot_id, volume, start, size_gib, text, tags=tags or {})
        self.known.append(Known(snapshot, "standard", 2048 * size_gib * BLOCK))
        if lives:
            self.living[volume] = ""

    def write(self, not_asked=(), passed_over=(), tags=(), **assumptions):
        self.bill.noise()
        report = reports.read([str(self.bill.write(self.directory, "cur2.parquet"))], "", str(self.directory), self.today)
        asked = Estate(ACCOUNT, REGION, self.known, self.living, {}, not_asked, fast=self.fast, binned=self.binned)
        chains = lineage.chains(report, [asked], {}, self.today)
        located = locate.Located([], ["bill"], list(passed_over))
        given = moves.Assumptions(**assumptions)
        priced = {REGION: prices.table(REGION)}
        analysis = costs.analyse(report, located, chains, priced, given, {}, list(not_asked), self.today, tags)
        path = self.directory / "page.html"
        costs.write(analysis, {"html": str(path)}, template())
        return path, analysis


def page(directory, volumes, snapshots, days=None, seed=1):
    """Of so many volumes with so many snapshots each."""
    dice = random.Random(seed)
    made = Made(directory)
    for volume in range(volumes):
        size = dice.choice((8, 30, 100, 500))
        change = dice.choice((0.001, 0.01, 0.05, 0.3))
        for number in range(snapshots):
            made.snapshot(
                f"vol-{volume:017x}",
                volume * snapshots + number,
                size,
                2048 * size if not number else max(1, int(2048 * size * change * dice.random())),
                f"20{20 + volume % 6}-{1 + number % 12:02}-{1 + number // 12 % 28:02}T00:00:00+00:00",
                HOSTILE if volume == number == 0 else f"backup {number} of host{volume}",
                {"Name": f"host{volume}"},
                days,
                lives=volume % 3 == 0,
            )
    return made.write()


def odd_page(directory):
    """A bill that is cut off, long names, all scripts, what nobody answered, and files that were not read."""
    made = Made(directory, "2026-11", delivered=14, today=date(2026, 11, 15))
    texts = [
        "x" * 255,
        "نسخة احتياطية من قاعدة البيانات " * 6,
        "データベースのバックアップ" * 15,
        "Sicherung der Datenbank für die Abteilung mit dem sehr langen Namen, nachts um drei, auf Zuruf. " * 2,
        "\u202eright to left\u202c e\u0301\u0301\u0301 \U0001f4be\u200d\U0001f525 " * 8,
        HOSTILE,
    ]
    for number, text in enumerate(texts * 2):
        volume = f"vol-{number // 3:017x}"
        size = 60 * (1 + number // 3)
        blocks = 2048 * size if not number % 3 else 300
        made.snapshot(volume, number, size, blocks, f"2025-0{1 + number % 3}-01T03:00:00+00:00", text, {"Name": text, "team": text})
    made.snapshot("vol-ffffffff", 99, 4000, 90_000, "2025-04-01T03:00:00+00:00", "a copy")
    made.bill.snapshot(f"snap-{100:017x}", 2048 * 20, region=REGION)
    made.binned[f"snap-{100:017x}"] = Binned("vol-3", "before the upgrade", "2026-12-05")
    silent = NotAsked(ACCOUNT, REGION, IMAGES, "ec2:DescribeImages", f"an SCP denies it: {HOSTILE}", "Ask who may.")
    return made.write([silent], [(f"s3://bills/{HOSTILE}/{'long' * 60}.parquet", f"another payer's: {HOSTILE}")], ["team"])


def poor_page(directory):
    """Nothing worth moving."""
    made = Made(directory)
    made.snapshot("vol-1", 1, 1, 200, "2026-10-01T00:00:00+00:00", lives=True)
    made.snapshot("vol-1", 2, 1, 20, "2026-10-02T00:00:00+00:00", lives=True)
    return made.write()


def rich_page(directory):
    """All that a bill has of snapshots besides storage: fast restore, a retrieval, a discount."""
    made = Made(directory)
    for number in range(3):
        blocks = 2048 * (300 if number else 500)
        facts = {"tags": {"Name": "db", "team": "blue"}, "net": Decimal("0.9")}
        made.snapshot("vol-1", number, 500, blocks, f"2024-0{1 + number}-01T00:00:00+00:00", **facts)
    for number in range(10, 13):
        made.snapshot("vol-2", number, 10, 2048 * 10, f"2026-10-{number}T00:00:00+00:00", tags={"Name": "web"}, lives=True)
    newest = f"snap-{2:017x}"
    made.fast[newest] = ["eu-west-1a"]
    arn = f"arn:aws:ec2:{REGION}:{ACCOUNT}:snapshot/{newest}"
    for day in range(1, 32):
        made.bill.add("EU-EBS:FastSnapshotRestore", "18", arn, 24, day, region=REGION)
    made.bill.add("EU-EBS:SnapshotArchiveRetrieval", "3", arn, 100, region=REGION)
    return made.write(tags=["team"])


def short_page(directory):
    """Two to thirty snapshots a volume, that change little or much; of some the volume is in use, and the newest stays."""
    made = Made(directory)
    number = 0
    for count in (2, 3, 7, 30):
        for change in (0.001, 0.005, 0.02, 0.3):
            for lives in (False, True):
                number += 100
                for at in range(count):
                    blocks = 2048 * 500 if not at else int(2048 * 500 * change)
                    start = f"2026-10-{1 + at:02}T00:00:00+00:00"
                    made.snapshot(f"vol-{number:x}", number + at, 500, blocks, start, lives=lives)
    return made.write()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


def screen(browser, width, height=900):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    )


def opened(browser, path, width=1280):
    """Open the page; it must say that it is ready, and complain of nothing."""
    screen(browser, width)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    assert browser.execute_script("return document.body.dataset.ready") == "yes"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def unfold(browser):
    """Open all that is folded, and what is behind two volumes."""
    browser.execute_script(
        "for (const part of document.querySelectorAll('details')) part.open = true;"
        "for (const button of [...document.querySelectorAll('#chains th button.link')].slice(0, 2)) button.click();"
    )
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")  # plots follow when opened


def rows(browser, table="snapshots"):
    """The cells of the rows shown; of a cell the first line."""
    return browser.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} .grid > tbody > tr:not(.detail)`)]"
        ".map(line => [...line.children].map(cell => (cell.firstChild || cell).textContent))",
        table,
    )


def head(browser, title, table="snapshots"):
    return browser.find_element(By.XPATH, f"//*[@id='{table}']//th[button='{title}']")


def where(browser, table):
    return browser.find_element(By.CSS_SELECTOR, f"#{table} .pager span").text


def finder(browser, table):
    return browser.find_element(By.CSS_SELECTOR, f"#{table} input")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return page(tmp_path_factory.mktemp("small"), 40, 12)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return page(tmp_path_factory.mktemp("large"), 600, 17, days=[30, 31])


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    return odd_page(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def poor(tmp_path_factory):
    return poor_page(tmp_path_factory.mktemp("poor"))


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    return rich_page(tmp_path_factory.mktemp("rich"))


def test_the_answer_comes_first(browser, small):
    """What to do, what it saves and costs, on the first screen; every sum is the analysis'."""
    path, analysis = small
    opened(browser, path)
    savings = analysis.document["savings"]
    headline = browser.find_element(By.ID, "headline")
    assert headline.text.startswith(f"Move {savings['snapshots']} snapshots of {savings['chains']} volumes")
    assert f"${savings['saving_likely']:,.2f} a month" in headline.text
    answer = browser.find_element(By.ID, "answer").text
    for dollars in (
        savings["monthly"],
        savings["once"],
        analysis.document["totals"]["snapshots"],
        analysis.document["totals"]["bill"],
    ):
        assert f"${dollars:,.2f}" in answer
    assert browser.execute_script("return document.getElementById('figures').getBoundingClientRect().bottom") < 900
    lines = browser.execute_script(
        "return [...document.querySelectorAll('#targets tbody tr')].map(line => [...line.children].map(cell => cell.textContent))"
    )
    assert [line[0] for line in lines] == list(savings["targets"])
    for line, sums in zip(lines, savings["targets"].values()):
        assert f"{sums['saving_least']:,.2f}" in line
        assert f"{sums['once']:,.2f}" in line
    assert "You save nothing until you delete the snapshots that were moved" in answer


def test_it_draws_plots_and_tables_from_a_file(browser, small):
    """Every plot has shapes."""
    path, analysis = small
    opened(browser, path)
    unfold(browser)
    for plot in ("daily", "waterfall", "changes"):
        assert len(browser.find_elements(By.CSS_SELECTOR, f"#{plot} rect, #{plot} circle")) > 1, plot
    assert f"{analysis.document['totals']['bill']:,.2f}" in browser.find_element(By.ID, "totals").text
    assert where(browser, "chains") == "1–25 of 40 volumes"
    assert len(rows(browser, "chains")) == 25


def test_it_asks_no_network(browser, small):
    """Nothing but the file itself is requested."""
    opened(browser, small[0])
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"}
    assert urls == {small[0].as_uri()}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("which", ["large", "odd", "rich"])
def test_nothing_sticks_out_to_the_right(browser, request, which, width):
    """All unfolded, no element that is seen ends beyond the screen, and the page does not scroll sideways."""
    opened(browser, request.getfixturevalue(which)[0], width)
    unfold(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert too_wide(browser) == []


def too_wide(browser):
    """What is seen and ends to the right of the screen, or has text that does not fit into its cell."""
    return browser.execute_script(
        "const room = document.documentElement.clientWidth;"
        "return [...document.querySelectorAll('body *')].filter(node => node.checkVisibility() && !node.closest('title, script')"
        " && (node.getBoundingClientRect().right > room + 0.5 || node.matches('td, th') && node.scrollWidth > node.clientWidth + 1))"
        ".map(node => `${node.tagName} ${node.className.baseVal ?? node.className} ${node.textContent.slice(0, 60)}`)"
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_ten_thousand_snapshots_make_no_endless_page(browser, large, width):
    """Some screens, folded or not."""
    opened(browser, large[0], width)
    height = "return document.documentElement.scrollHeight"
    assert browser.execute_script(height) < 5500
    unfold(browser)
    assert browser.execute_script(height) < (18_000 if width < 600 else 13_000)


def test_what_a_description_holds_is_text(browser, small, odd):
    """No markup of what others wrote comes alive: descriptions, tags, names of files, answers of AWS."""
    opened(browser, odd[0])
    unfold(browser)
    assert HOSTILE in browser.find_element(By.ID, "cautions").text
    assert f"team={HOSTILE}" in browser.find_element(By.CSS_SELECTOR, "#snapshots .grid tbody").get_property("textContent")
    assert browser.title == "EBS snapshots: cost and advice"
    assert browser.find_elements(By.CSS_SELECTOR, "img, [onerror]") == []
    opened(browser, small[0])
    unfold(browser)
    finder(browser, "snapshots").send_keys("onerror")
    assert where(browser, "snapshots") == "1–1 of 1 snapshot"
    assert HOSTILE in browser.find_element(By.CSS_SELECTOR, "#snapshots .grid tbody").get_property("textContent")
    assert browser.title == "EBS snapshots: cost and advice"


def test_what_makes_figures_unsure_is_said_before_the_advice(browser, odd, small):
    """A bill that is not complete, what was not read, and what nobody answered."""
    opened(browser, odd[0])
    assert "not complete: billed until 2026-11-13" in browser.find_element(By.ID, "about").text
    cautions = browser.find_element(By.ID, "cautions")
    assert "ec2:DescribeImages" in cautions.text
    assert "another payer's" in cautions.text
    assert "In the Recycle Bin: 1 snapshot of $1.00 a month" in browser.find_element(By.ID, "risks").text
    assert cautions.location["y"] < browser.find_element(By.ID, "headline").location["y"]
    assert "copy snap-00000000000000063" in [line[0] for line in rows(browser, "chains")]
    opened(browser, small[0])
    assert not browser.find_element(By.ID, "cautions").is_displayed()


def test_nothing_to_move_is_an_answer_too(browser, poor):
    opened(browser, poor[0])
    assert browser.find_element(By.ID, "headline").text.startswith("Keep everything where it is")
    assert not browser.find_element(By.ID, "targets").is_displayed()
    assert "$0.01" in browser.find_element(By.ID, "figures").text
    assert [line[5] for line in rows(browser, "chains")] == ["keep"]
    assert poor[1].plans[0].reason in browser.find_element(By.ID, "chains").text


def test_all_that_the_bill_has_of_snapshots_is_shown(browser, rich):
    """Fast restore and its dollars, the kinds of line, ages, net and list, names and tags, and mere deletion."""
    path, analysis = rich
    opened(browser, path)
    unfold(browser)
    document = analysis.document
    besides = browser.find_element(By.ID, "besides").text
    assert "$558.00 a month for 1 snapshot" in besides
    assert "on in eu-west-1a" in besides
    rest = document["savings"]["deletions"]
    assert f"gives up {rest['snapshots']} snapshots" in besides
    assert f"about ${rest['saving_likely']:,.2f} a month" in besides
    kinds = browser.find_element(By.ID, "kinds").text
    for row in document["totals"]["kinds"]:
        assert f"{row['what']} {row['cost']:,.2f} {row['net_cost']:,.2f} {row['list_cost']:,.2f}" in kinds
    assert "over one year 3 " in browser.find_element(By.ID, "ages").text
    finder(browser, "snapshots").send_keys("team=blue db")
    assert len(rows(browser)) == 3
    text = browser.find_element(By.ID, "snapshots").text
    assert "fast restore 558.00 a month" in text
    assert "net 22.50" in text
    finder(browser, "chains").send_keys("db")
    assert [line[0] for line in rows(browser, "chains")] == ["vol-1"]


def test_a_column_sorts_both_ways(browser, small):
    """Numbers as numbers, what is empty last, and the focus stays where it was."""
    opened(browser, small[0])
    unfold(browser)
    costs_shown = [float(line[4].replace(",", "")) for line in rows(browser)]
    assert costs_shown == sorted(costs_shown, reverse=True)
    assert head(browser, "Cost").get_attribute("aria-sort") == "descending"
    button = head(browser, "Cost").find_element(By.TAG_NAME, "button")
    button.send_keys(Keys.ENTER)
    costs_shown = [float(line[4].replace(",", "")) for line in rows(browser)]
    assert costs_shown == sorted(costs_shown)
    assert head(browser, "Cost").get_attribute("aria-sort") == "ascending"
    assert browser.switch_to.active_element == button
    head(browser, "Change").find_element(By.TAG_NAME, "button").click()
    assert all(line[5] for line in rows(browser))
    assert head(browser, "Cost").get_attribute("aria-sort") == "none"
    head(browser, "Snapshot").find_element(By.TAG_NAME, "button").click()
    assert rows(browser)[0][0] == "snap-" + "0" * 17


def test_volumes_come_by_what_they_save_and_sort_by_any_column(browser, small):
    path, analysis = small
    opened(browser, path)
    saved = sorted((plan.chosen.likely for plan in analysis.plans if plan.chosen.target != advice.KEEP), reverse=True)
    assert [line[6] for line in rows(browser, "chains")] == [f"{each:,.2f}" for each in saved[:25]]
    head(browser, "Today", "chains").find_element(By.TAG_NAME, "button").click()
    monthly = sorted((plan.now for plan in analysis.plans), reverse=True)
    assert [line[4] for line in rows(browser, "chains")] == [f"{each:,.2f}" for each in monthly[:25]]
    head(browser, "Today", "chains").find_element(By.TAG_NAME, "button").click()
    assert rows(browser, "chains")[0][4] == f"{monthly[-1]:,.2f}"


def test_words_and_advice_filter_and_pages_turn(browser, small):
    """All words must be found; the count and the pages follow. Volumes filter as snapshots do."""
    _path, analysis = small
    opened(browser, small[0])
    unfold(browser)
    box = finder(browser, "snapshots")
    box.send_keys("host7 vol-00000000000000007")
    assert len(rows(browser)) == 12
    assert where(browser, "snapshots") == "1–12 of 12 snapshots"
    box.clear()
    box.send_keys(" ")
    Select(browser.find_element(By.CSS_SELECTOR, "#snapshots select")).select_by_value("DEEP_ARCHIVE")
    moved = analysis.document["savings"]["targets"]["DEEP_ARCHIVE"]["snapshots"]
    assert where(browser, "snapshots") == f"1–50 of {moved} snapshots"
    first = rows(browser)[0][0]
    next_page = browser.find_element(By.CSS_SELECTOR, "#snapshots [aria-label='Next page of snapshots']")
    next_page.click()
    assert rows(browser)[0][0] != first
    browser.find_element(By.CSS_SELECTOR, "#snapshots [aria-label='Previous page of snapshots']").click()
    assert rows(browser)[0][0] == first
    finder(browser, "chains").send_keys("vol-00000000000000007")
    assert [line[0] for line in rows(browser, "chains")] == ["vol-00000000000000007"]
    finder(browser, "chains").send_keys(" nowhere")
    assert rows(browser, "chains") == []
    assert where(browser, "chains") == "no volume matches"


def test_details_open_by_the_keyboard_and_lead_to_the_snapshots(browser, small):
    """Why, what else could be done, and each snapshot of the volume."""
    opened(browser, small[0])
    volume = rows(browser, "chains")[0][0]
    chain = next(plan for plan in small[1].plans if plan.chain.volume_id == volume)
    button = browser.find_element(By.CSS_SELECTOR, "#chains tbody th button")
    assert button.get_attribute("aria-expanded") == "false"
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "true"
    detail = browser.find_element(By.CSS_SELECTOR, "#chains tr.detail")
    assert chain.reason in detail.text
    possible = [option for option in chain.options if option.available and option.target != advice.KEEP]
    assert len(detail.find_elements(By.CSS_SELECTOR, ".detail > td > table > tbody > tr")) == len(possible) > 6
    detail.find_element(By.CSS_SELECTOR, "button.link").send_keys(Keys.ENTER)
    assert {line[1] for line in rows(browser)} == {volume}
    assert len(rows(browser)) == 12
    assert browser.switch_to.active_element == finder(browser, "snapshots")
    button.send_keys(Keys.ENTER)
    assert browser.find_elements(By.CSS_SELECTOR, "#chains tr.detail") == []


def test_it_reads_well_on_a_phone(browser, small):
    """Each value carries its name, and what the heads of the columns do a list does."""
    opened(browser, small[0], 390)
    shown = browser.execute_script("return getComputedStyle(document.querySelector('#chains td'), '::before').content")
    assert shown == '"Snapshots"'
    assert len(rows(browser, "chains")) == 10
    assert not head(browser, "Today", "chains").is_displayed()
    order = browser.find_element(By.CSS_SELECTOR, "#chains select.sorter")
    assert order.is_displayed()
    Select(order).select_by_visible_text("Today: least first")
    monthly = sorted(plan.now for plan in small[1].plans)
    assert [line[4] for line in rows(browser, "chains")] == [f"{each:,.2f}" for each in monthly[:10]]


def test_tables_say_what_they_are(browser, small):
    """Heads have a scope, numbers stand to the right with figures of one width, fields have names, headings leave out no level."""
    opened(browser, small[0])
    unfold(browser)
    assert browser.execute_script("return [...document.querySelectorAll('th')].filter(cell => !cell.scope).length") == 0
    unnamed = "[...document.querySelectorAll('table, input, select')].filter(one => !one.ariaLabel && !one.getAttribute('aria-labelledby'))"
    assert browser.execute_script(f"return {unnamed}.length") == 0
    missing = "[...document.querySelectorAll('[aria-labelledby]')].filter(one => !document.getElementById(one.getAttribute('aria-labelledby')))"
    assert browser.execute_script(f"return {missing}.length") == 0
    levels = browser.execute_script("return [...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))
    style = "getComputedStyle(document.querySelector('#chains td.number'))"
    assert browser.execute_script(f"return [{style}.textAlign, {style}.fontVariantNumeric]") == ["right", "tabular-nums"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_stand_out_from_the_paper(browser, odd, scheme):
    """At least 4.5 to 1, as WCAG's AA asks of text."""
    opened(browser, odd[0])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        unfold(browser)
        found = browser.execute_script(CONTRAST)
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len({tuple(each[1:]) for each in found}) > 3
    assert [each for each in found if each[0] < 4.5] == []


# The contrast of every text that is seen with the colour behind it, by the formula of WCAG 2.2.
CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([red, green, blue]) => [red, green, blue].map((each) => each / 255)
  .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4).reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest("script, noscript, title, :disabled")) continue;
  let behind = node;
  while (behind !== document.documentElement && (parse(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
  const ink = getComputedStyle(node)[node instanceof SVGElement ? "fill" : "color"], paper = getComputedStyle(behind).backgroundColor;
  const [one, two] = [light(parse(ink)), light(parse(paper))];
  found.push([(Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05), ink, paper]);
}
return found;
"""


@pytest.mark.parametrize("width", PAPER)
@pytest.mark.parametrize("which", ["large", "odd", "poor", "rich"])
def test_paper_has_the_answer_and_every_column(browser, request, which, width):
    """Nothing of the screen's tools, nothing folded that matters, nothing cut off; afterwards all is as before."""
    path, analysis = request.getfixturevalue(which)
    opened(browser, path)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        screen(browser, width)
        browser.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert browser.find_elements(By.CSS_SELECTOR, "#chains input, #chains select, #chains .pager button")
        for tool in browser.find_elements(By.CSS_SELECTOR, "input, select, .pager button, button.link"):
            assert not tool.is_displayed()
        for part in ("headline", "figures", "risks", "chains", "daily", "changes", "totals", "assumed"):
            assert browser.find_element(By.ID, part).is_displayed(), part
        assert f"{analysis.document['totals']['bill']:,.2f}" in browser.find_element(By.ID, "totals").text
        assert len(rows(browser, "chains")) == min(200, len(analysis.plans))
        assert all(cell.is_displayed() for cell in browser.find_elements(By.CSS_SELECTOR, "#chains thead th, #totals thead th"))
        assert too_wide(browser) == []
        browser.execute_script("dispatchEvent(new Event('afterprint'))")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    screen(browser, 1280)
    assert browser.find_elements(By.CSS_SELECTOR, "details[open]") == []
    assert len(rows(browser, "chains")) == min(25, len(analysis.plans))


@pytest.mark.parametrize("across", [False, True])
def test_it_prints(browser, large, across):
    """A PDF: the answer, two hundred volumes and the rest on some A4 sheets."""
    opened(browser, large[0])
    given = {"landscape": across, "paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True, "generateTaggedPDF": False}
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", given)["data"])
    sheets = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 5 <= sheets <= 24


def test_the_plot_of_changes_says_what_the_advice_says(browser, tmp_path):
    """A volume that is moved lies above the curve of its class, also with few snapshots; the curves are the advice's own."""
    path, analysis = short_page(tmp_path)
    opened(browser, path)
    unfold(browser)
    caption = browser.find_element(By.CSS_SELECTOR, "#changes p").text
    assert "the fewer snapshots a volume has, the less they have to change" in caption
    shares = browser.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('#changes polyline')].map(one => [one.dataset.target, Number(one.dataset.share)]))"
    )
    titles = browser.execute_script("return [...document.querySelectorAll('#changes circle title')].map(one => one.textContent)")
    assert len(titles) == len(analysis.plans) == 32
    moved = 0
    for plan in analysis.plans:
        count = "Infinity" if plan.kept_for else str(len(plan.chain.snapshots))
        for option in plan.options:
            if option.form == "full" and option.which.startswith("all") and option.target in shares:
                drawn = browser.execute_script(f"return breakEven({count}, {shares[option.target]})")
                assert drawn == pytest.approx(option.break_even, abs=0.01), (plan.chain.volume_id, option.target)
                pays = plan.chain.average_change > drawn
                # What is paid besides the storage (index, manifest, receipt) is a cent or two.
                assert pays == (option.likely > 0) or abs(option.likely) < 0.02, (plan.chain.volume_id, option.target)
        if plan.chosen.target != advice.KEEP:
            moved += 1
    assert 10 < moved < 32


def test_fifty_thousand_snapshots_hold_up(browser, tmp_path):
    """All are found, few are drawn, and a filter answers within the time of a keystroke or two."""
    path, _analysis = page(tmp_path, 2500, 20, days=[30, 31])
    opened(browser, path)
    unfold(browser)
    assert where(browser, "snapshots") == "1–50 of 50,000 snapshots"
    assert browser.execute_script("return document.querySelectorAll('*').length") < 12_000
    assert path.stat().st_size < 20_000_000
    finder(browser, "snapshots").send_keys("host2499")
    assert len(rows(browser)) == 20
