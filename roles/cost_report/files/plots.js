// SPDX-License-Identifier: GPL-3.0-or-later
// Drawn as wide as there is room, so that letters keep their size; drawn again when that changes.
const COLOURS = ["#3f74b8", "#c2641c", "#2f8a57", "#c04a55", "#7d63b0", "#8a6248", "#b85a9c", "#6f7a8a", "#8a8420", "#23899a"];

function canvas(name, width, height, says) {
  const figure = id(name);
  for (const old of figure.querySelectorAll("svg, .legend, p")) old.remove();
  return make("svg", figure, null, {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": says});
}

function nice(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= most);
}

function axis(svg, left, right, top, bottom, most, label) {
  for (let step = 0; step <= 4; step += 1) {
    const y = bottom - (bottom - top) * step / 4;
    make("line", svg, null, {x1: left, x2: right, y1: y, y2: y, stroke: "var(--line)"});
    make("text", svg, label(most * step / 4), {x: left - 6, y: y + 4, "text-anchor": "end"});
  }
}

// One bar a line: today, less each target, and what is left. What is certain is darker than what is only likely.
function waterfall(width) {
  const {savings} = data;
  id("waterfall").hidden = !savings.chains;
  const steps = [["today", savings.monthly, savings.monthly, 0]];
  let level = savings.monthly;
  for (const [target, sums] of Object.entries(savings.targets)) {
    const likely = Math.max(0, Math.min(sums.saving_likely, level));
    steps.push([target, -sums.saving_likely, level, level - likely, level - Math.max(0, Math.min(sums.saving_least, likely))]);
    level -= likely;
  }
  steps.push(["left", savings.monthly - savings.saving_likely, level, 0]);
  const says = steps.map(([name, value]) => `${name} ${money(value)}`).join(", ");
  const svg = canvas("waterfall", width, steps.length * 34 + 4, `Dollars a month: ${says}`.replace("Dollars", data.report.currency));
  const left = 112, right = width - 92, most = savings.monthly || 1;
  const x = (value) => left + Math.max(0, value) / most * (right - left);
  steps.forEach(([name, value, high, low, sure], which) => {
    const y = which * 34 + 4, whole = sure === undefined;
    const bar = (from, to, fill) => make("rect", svg, null, {x: x(from), y, width: Math.max(1, x(to) - x(from)), height: 24, fill});
    if (whole) bar(low, high, "var(--accent)");
    else { bar(low, high, "var(--maybe)"); if (high > sure) bar(sure, high, "var(--good)"); }
    make("text", svg, name, {x: left - 8, y: y + 17, "text-anchor": "end"});
    make("text", svg, money(value), {x: x(high) + 6, y: y + 17});
  });
  const legend = make("div", id("waterfall"), null, {class: "legend"});
  for (const [fill, text] of [["var(--accent)", "paid a month"], ["var(--good)", "saved, certain"], ["var(--maybe)", "saved, likely"]]) key(legend, fill, text);
}

function key(legend, fill, text) {
  const entry = make("span", legend);
  make("i", entry, null, {style: `background:${fill}`});
  entry.append(text);
}

function daily(width) {
  const {days} = data;
  if (days.length < 2) {
    canvas("daily", width, 1, "").remove();
    make("p", id("daily"), "The bill is of a whole month: it has no days.", {class: "soft"});
    return;
  }
  const lines = data.daily.map((line) => ({...line, sum: line.costs.reduce((a, b) => a + b, 0)})).sort((a, b) => b.sum - a.sum);
  const names = lines.filter((line) => line.volume !== "others");
  const shown = names.slice(0, COLOURS.length - 1);
  const rest = [...lines.filter((line) => line.volume === "others"), ...names.slice(COLOURS.length - 1)];
  if (rest.length) shown.push({volume: "others", costs: days.map((_day, which) => rest.reduce((sum, line) => sum + line.costs[which], 0))});
  const sums = days.map((_day, which) => shown.reduce((sum, line) => sum + Math.max(0, line.costs[which]), 0));
  const most = nice(Math.max(...sums));
  const svg = canvas("daily", width, 280, `Cost of snapshots by day, from ${money(sums[0])} on ${days[0]} to ${money(sums[sums.length - 1])} on ${days[days.length - 1]}`);
  const [left, right, top, bottom] = [76, width - 8, 10, 254];
  axis(svg, left, right, top, bottom, most, money);
  const step = (right - left) / days.length;
  const each = Math.ceil(46 / step);
  days.forEach((day, which) => {
    let y = bottom;
    shown.forEach((line, colour) => {
      const height = Math.max(0, line.costs[which]) / most * (bottom - top);
      y -= height;
      const bar = make("rect", svg, null, {x: left + which * step + step * .1, y, width: step * .8, height, fill: COLOURS[colour]});
      make("title", bar, `${line.volume}, ${day}: ${money(line.costs[which])}`);
    });
    if (which % each === 0) make("text", svg, day.slice(5), {x: left + (which + .5) * step, y: bottom + 18, "text-anchor": "middle"});
  });
  const legend = make("div", id("daily"), null, {class: "legend"});
  shown.forEach((line, colour) => key(legend, COLOURS[colour], line.volume));
}

// Above which change, in percent, n archives cost less than the chain does in EBS; share: an archive's price by what it is of in EBS.
// Where a snapshot stays, it goes on holding the oldest's blocks, and the length does not matter.
const breakEven = (snapshots, share) => 100 * (snapshots === Infinity ? share : (snapshots * share - 1) / (snapshots - 1));

function changes(width) {
  const dots = data.chains.filter((chain) => chain.average_change_percent !== null && chain.count > 1).slice(0, 5000);
  const region = (data.totals.regions.slice().sort((a, b) => b.cost - a.cost).find((each) => data.prices[each.region]) || {}).region;
  const svg = canvas("changes", width, 330, "Change of each volume against the number of its snapshots, with the change above which each storage class pays");
  const [left, right, top, bottom] = [48, width - 116, 12, 290];
  const longest = Math.max(10, ...dots.map((chain) => chain.count));
  const some = right - 40;
  const x = (count) => count === Infinity ? some + 20 : left + Math.log(count / 2) / Math.log(longest / 2) * (some - left - 20);
  // Small changes matter most, so the axis is by the square root.
  const y = (percent) => bottom - Math.sqrt(Math.min(100, Math.max(0, percent)) / 100) * (bottom - top);
  for (const percent of [0, 1, 5, 10, 25, 50, 100]) {
    make("line", svg, null, {x1: left, x2: right, y1: y(percent), y2: y(percent), stroke: "var(--line)"});
    make("text", svg, `${percent}%`, {x: left - 6, y: y(percent) + 4, "text-anchor": "end"});
  }
  let free = -Infinity;
  for (const count of [2, 3, 5, 10, 30, 100, 300, 1000, 3000].filter((each) => each <= longest)) {
    if (x(count) < free || x(count) > some - 24) continue;
    make("text", svg, number(count, 0), {x: x(count), y: bottom + 18, "text-anchor": "middle"});
    free = x(count) + 30;
  }
  make("text", svg, "some stay", {x: right, y: bottom + 18, "text-anchor": "end"});
  make("text", svg, "snapshots", {x: left, y: bottom + 34});
  make("line", svg, null, {x1: some, x2: some, y1: top, y2: bottom, stroke: "var(--soft)", "stroke-dasharray": "2 3"});
  if (region) curves(svg, region, {x, y, left, right, some, longest});
  for (const chain of dots) {
    const count = chain.whole ? chain.count : Infinity;
    const dot = make("circle", svg, null, {cx: x(count), cy: y(chain.average_change_percent), r: 4, "fill-opacity": .65, fill: moving(chain) ? "var(--good)" : "var(--soft)"});
    make("title", dot, `${named(chain)}: ${many(chain.count, "snapshot")}, ${number(chain.average_change_percent, 1)}%, ${money(chain.monthly)} a month, ${advised(chain)}`);
  }
  const legend = make("div", id("changes"), null, {class: "legend"});
  key(legend, "var(--good)", "a volume to move");
  key(legend, "var(--soft)", "a volume to keep");
  make("p", id("changes"), "One dot a volume. Above a curve whole archives in that storage class cost less than EBS does; the fewer snapshots a volume has, the less they have to change for that, " +
    "and with two it is almost always so. Where some stay, the length does not help, since those that stay hold on to what all have in common: there the straight end of the curve counts. " +
    `Curves are for prices of ${region} and archives of ${number(100 * data.assumptions.compression, 0)}%. A volume above a curve is kept if others may hold its blocks, or if it would save less than ${money(data.assumptions.minimum)} a month.`, {class: "soft"});
}

function curves(svg, region, {x, y, left, right, some, longest}) {
  const {values} = data.prices[region];
  const ebs = data.rates[region] || values.snapshot;
  const shares = data.assumptions.classes.map((name) => [name, data.assumptions.compression * values.classes[name].storage / ebs]);
  shares.push(["EBS archive", values.snapshot_archive / ebs]);
  let above = Infinity;
  shares.sort((a, b) => a[1] - b[1]).forEach(([name, share], which) => {
    if (share > 1) return;
    const points = [];
    for (let at = left; at <= some - 20; at += 4) {
      const count = 2 * (longest / 2) ** ((at - left) / (some - left - 20));
      points.push(`${at},${y(breakEven(count, share))}`);
    }
    const end = y(breakEven(Infinity, share));
    points.push(`${some},${end}`, `${right},${end}`);
    const curve = make("polyline", svg, null, {points: points.join(" "), fill: "none", stroke: COLOURS[which], "stroke-width": 1.5, "data-share": share, "data-target": name});
    make("title", curve, `${name}: pays from ${number(100 * share, 1)}% in very long chains`);
    above = Math.min(end + 4, above - 13);
    make("text", svg, name, {x: right + 6, y: above, style: "font-size:11px"});
  });
}

function drawPlots(onPaper) {
  const room = (name) => onPaper ? 680 : Math.max(300, id(name).clientWidth);
  waterfall(onPaper ? 360 : room("waterfall"));
  if (!id("plots").open) return;
  daily(room("daily"));
  changes(room("changes"));
}
let wait = 0;
addEventListener("resize", () => { cancelAnimationFrame(wait); wait = requestAnimationFrame(() => drawPlots()); });
id("plots").addEventListener("toggle", () => drawPlots());
drawPlots();
document.body.dataset.ready = "yes";
