# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML page in a real browser: it opens from a file, draws itself without a network, sorts, filters and prints."""

import json
import random
from datetime import date

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.estate import Estate, Known
from ansible_collections.coldstore.ebs.plugins.module_utils.common.snapshot import Snapshot
from ansible_collections.coldstore.ebs.plugins.module_utils.costs import lineage, locate, moves, prices, reports
from ansible_collections.coldstore.ebs.plugins.module_utils.flows import costs as _costs
from bills import Bill
from conftest import REPO
from selenium import webdriver
from selenium.webdriver.common.by import By

BLOCK = 512 * 1024
TODAY = date(2026, 11, 21)
TEMPLATE = REPO / "roles/cost_report/files/report.html"
HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror=document.title="owned"> & "quotes" ☃'


def page(directory, volumes, snapshots, days, seed=1):
    """A page of so many volumes with so many snapshots each, as the module writes it."""
    dice = random.Random(seed)
    bill = Bill("2026-10")
    known = []
    for volume in range(volumes):
        size = 2048 * dice.choice((8, 30, 100, 500))
        change = dice.choice((0.001, 0.01, 0.05, 0.3))
        for number in range(snapshots):
            snapshot_id = f"snap-{volume * snapshots + number:017x}"
            bill.snapshot(
                snapshot_id, size if not number else max(1, int(size * change * dice.random())), days=days, region="eu-west-1"
            )
            start = f"20{20 + volume % 6}-{1 + number % 12:02}-{1 + number // 12 % 28:02}T00:00:00+00:00"
            text = HOSTILE if volume == number == 0 else f"backup {number} of host{volume}"
            known.append(Known(Snapshot(snapshot_id, f"vol-{volume:017x}", start, size // 2048, text), "standard", size * BLOCK))
    bill.noise()
    report = reports.read([str(bill.write(directory, "cur2.parquet"))], "", str(directory), TODAY)
    living = {f"vol-{volume:017x}": "" for volume in range(0, volumes, 3)}
    chains = lineage.chains(report, [Estate("111111111111", "eu-west-1", known, living, {})], {}, TODAY)
    priced = {"eu-west-1": prices.table("eu-west-1")}
    analysis = _costs.analyse(report, locate.Located([], ["bill"], []), chains, priced, moves.Assumptions(), {}, [], TODAY)
    path = directory / "page.html"
    _costs.write(analysis, {"html": str(path)}, TEMPLATE.read_text())
    return path, analysis


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


def opened(browser, path, width=1280, height=900):
    """Open the page; it must say that it is ready, and complain of nothing."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    )
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    assert browser.execute_script("return document.body.dataset.ready") == "yes"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def rows(browser):
    """The first cells of the snapshots shown."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#snapshots tbody tr')].map(line => [...line.children].map(cell => cell.textContent))"
    )


def head(browser, title):
    return browser.find_element(By.XPATH, f"//table[@id='snapshots']//th[button='{title}']")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return page(tmp_path_factory.mktemp("small"), 40, 12, days=None)


def test_it_draws_plots_and_tables_from_a_file(browser, small):
    """Every plot has shapes, every sum is the analysis'."""
    path, analysis = small
    opened(browser, path)
    for plot in ("daily", "waterfall", "changes"):
        assert len(browser.find_elements(By.CSS_SELECTOR, f"#{plot} rect, #{plot} circle")) > 1, plot
    cards = browser.find_element(By.ID, "cards").text
    assert f"${analysis.document['totals']['snapshots']:,.2f}" in cards
    assert f"${analysis.document['savings']['saving_least']:,.2f}" in cards
    assert "480 snapshots of 40 volumes" in cards.replace("\n", " ")
    assert f"${analysis.document['totals']['bill']:,.2f}" in browser.find_element(By.ID, "totals").text
    assert len(browser.find_elements(By.CSS_SELECTOR, "#chains tbody tr")) == 40


def test_it_asks_no_network(browser, small):
    """Nothing but the file itself is requested."""
    opened(browser, small[0])
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"}
    assert urls == {small[0].as_uri()}


def test_what_a_description_holds_is_text(browser, small):
    """No markup of a snapshot's description comes alive."""
    path, _analysis = small
    opened(browser, path)
    assert browser.title == "EBS snapshots: cost and advice"
    browser.find_element(By.ID, "filter").send_keys("onerror")
    assert [line[-1] for line in rows(browser)] == [HOSTILE]


def test_a_column_sorts_both_ways(browser, small):
    """Numbers as numbers, what is empty last."""
    opened(browser, small[0])
    costs = [float(line[6].replace(",", "")) for line in rows(browser)]
    assert costs == sorted(costs, reverse=True)
    assert head(browser, "Cost").get_attribute("aria-sort") == "descending"
    head(browser, "Cost").find_element(By.TAG_NAME, "button").click()
    costs = [float(line[6].replace(",", "")) for line in rows(browser)]
    assert costs == sorted(costs)
    head(browser, "Change %").find_element(By.TAG_NAME, "button").click()
    assert all(line[7] for line in rows(browser))
    head(browser, "Snapshot").find_element(By.TAG_NAME, "button").click()
    assert rows(browser)[0][2] == "snap-" + "0" * 17


def test_words_and_advice_filter_and_pages_turn(browser, small):
    """All words must be found; the count and the pages follow."""
    _path, analysis = small
    opened(browser, small[0])
    box = browser.find_element(By.ID, "filter")
    box.send_keys("host7 vol-00000000000000007")
    assert len(rows(browser)) == 12
    assert browser.find_element(By.ID, "where").text == "12 snapshots, page 1 of 1"
    box.clear()
    box.send_keys(" ")
    browser.find_element(By.CSS_SELECTOR, "#advice option[value=DEEP_ARCHIVE]").click()
    moved = analysis.document["savings"]["targets"]["DEEP_ARCHIVE"]["snapshots"]
    assert browser.find_element(By.ID, "where").text.startswith(f"{moved} snapshots, page 1 of")
    first = rows(browser)[0][2]
    browser.find_element(By.ID, "next").click()
    assert rows(browser)[0][2] != first
    browser.find_element(By.ID, "back").click()
    assert rows(browser)[0][2] == first


def test_it_reads_well_on_a_phone(browser, small):
    """Nothing sticks out to the right, and each value carries its name."""
    opened(browser, small[0], width=390, height=844)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= 390
    shown = browser.execute_script("return getComputedStyle(document.querySelector('#snapshots td'), '::before').content")
    assert shown == '"Region"'


def test_it_prints(browser, small):
    """A PDF, without the tools of the screen."""
    opened(browser, small[0])
    pdf = browser.print_page()
    assert len(pdf) > 20_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not browser.find_element(By.ID, "filter").is_displayed()
    assert browser.find_element(By.ID, "daily").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_fifty_thousand_snapshots_hold_up(browser, tmp_path):
    """All are found, few are drawn, and a filter answers within the time of a keystroke or two."""
    path, _analysis = page(tmp_path, 2500, 20, days=[30, 31])
    opened(browser, path)
    assert browser.find_element(By.ID, "where").text == "50,000 snapshots, page 1 of 1,000"
    assert browser.execute_script("return document.querySelectorAll('*').length") < 12_000
    assert path.stat().st_size < 20_000_000
    browser.find_element(By.ID, "filter").send_keys("host2499")
    assert len(rows(browser)) == 20
