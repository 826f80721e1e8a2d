// SPDX-License-Identifier: GPL-3.0-or-later
// Everything that comes from the data becomes a text node or an attribute that is no markup.
const data = JSON.parse(document.getElementById("data").textContent);
const sign = data.report.currency === "USD" ? "$" : data.report.currency + " ", coin = sign.trim(), monthly = `${coin} a month`;
const narrow = matchMedia("screen and (max-width: 60rem)");
const id = (name) => document.getElementById(name);
const number = (value, digits) => value.toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits}).replace("-", "−");
const cents = (value) => number(Math.abs(value) < 0.005 ? 0 : value, 2);
const money = (value) => cents(value).replace(/^−?/, (minus) => minus + sign);
const many = (count, what) => `${number(count, 0)} ${what}${count === 1 ? "" : "s"}`;
const hours = (count) => !count ? "at once" : count >= 1 ? `after ${many(count, "hour")}` : `after ${many(Math.round(count * 60), "minute")}`;
const KEEP = "keep", THIN = "one a month";
const ROLES = {TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TFOOT: "rowgroup", TR: "row", TD: "cell"};

function make(name, parent, text, attributes) {
  const svg = parent instanceof SVGElement || name === "svg";
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  // Shown as cards on a small screen, a table would lose its meaning for who hears it.
  if (ROLES[node.tagName]) node.setAttribute("role", ROLES[node.tagName]);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  if (text !== undefined && text !== null) node.textContent = text;
  parent.appendChild(node);
  return node;
}

// Columns: title, unit; digits for a number; text(row), or value(row), which also sorts; draw(cell, row); kind: a class.
function shown(column, row) {
  if (column.text) return column.text(row);
  const value = column.value(row);
  if (value === null || value === undefined || value === "") return "";
  return column.digits === undefined ? String(value) : number(Math.abs(value) < 0.5 / 10 ** column.digits ? 0 : value, column.digits);
}

function headings(table, columns) {
  const line = make("tr", make("thead", table));
  return columns.map((column) => {
    const cell = make("th", line, null, {scope: "col", role: "columnheader", class: kind(column)});
    const name = make("span", cell, column.title);
    if (column.unit) make("small", cell, column.unit);
    return [cell, name];
  });
}

const kind = (column) => column.kind || (column.digits === undefined ? "text" : "number");

function line(body, columns, row) {
  const entry = make("tr", body);
  columns.forEach((column, at) => {
    const text = column.draw ? null : shown(column, row);
    const name = column.unit ? `${column.title}, ${column.unit}` : column.title;
    const cell = at ? make("td", entry, text, {class: kind(column) + (text === "" ? " empty" : ""), "data-name": name})
      : make("th", entry, text, {scope: "row", role: "rowheader", class: kind(column)});
    if (column.draw) column.draw(cell, row);
  });
  return entry;
}

function list(table, columns, rows, foot) {
  headings(table, columns);
  const body = make("tbody", table);
  for (const row of rows) line(body, columns, row);
  if (foot) line(make("tfoot", table), columns, foot);
}

// A table of many rows: it filters, sorts, and shows a page of them.
function grid(place, {what, columns, rows, sort, choices, picks, sizes, detail}) {
  const box = id(place);
  const state = {sort, down: true, page: 0, rows, size: 0, opened: new Set(), words: new Map()};
  const tools = make("div", box, null, {class: "tools"});
  const filter = make("input", tools, null, {type: "search", placeholder: "Filter: words in any column", "aria-label": `Filter ${what}s`});
  const choice = make("select", tools, null, {"aria-label": `Advice for the ${what}s`});
  for (const [value, text] of [["", "any advice"], ...choices]) make("option", choice, text, {value});
  const sorter = make("select", tools, null, {"aria-label": `Sort ${what}s by`, class: "sorter"});
  columns.forEach((column, at) => {
    for (const down of column.digits === undefined ? [false, true] : [true, false]) {
      const order = column.digits === undefined ? (down ? "Z first" : "A first") : (down ? "most first" : "least first");
      make("option", sorter, `${column.title}: ${order}`, {value: `${at} ${down}`});
    }
  });
  const table = make("table", box, null, {class: "grid", "aria-labelledby": `${place}-title`});
  const heads = headings(table, columns).map(([cell, name], at) => {
    const button = make("button", cell, columns[at].title, {type: "button"});
    name.replaceWith(button);
    make("span", cell, columns[at].title, {class: "paper", "aria-hidden": true}); // a button is not repeated on the next sheet
    button.after(cell.lastChild);
    button.addEventListener("click", () => order(at, at === state.sort ? !state.down : columns[at].digits !== undefined));
    return cell;
  });
  const body = make("tbody", table);
  const pager = make("div", box, null, {class: "pager"});
  const turn = (text, name, to) => {
    const button = make("button", pager, text, {type: "button", "aria-label": `${name} page of ${what}s`});
    button.addEventListener("click", () => { state.page = to(); draw(); });
    return button;
  };
  const pages = () => Math.max(1, Math.ceil(state.rows.length / state.size));
  const back = [turn("«", "First", () => 0), turn("‹ Back", "Previous", () => state.page - 1)];
  const where = make("span", pager, null, {"aria-live": "polite"});
  const next = [turn("Next ›", "Next", () => state.page + 1), turn("»", "Last", () => pages() - 1)];

  function searchable(row) {
    let text = state.words.get(row);
    if (text === undefined) state.words.set(row, text = columns.map((column) => (column.words || ((one) => shown(column, one)))(row)).join(" ").toLowerCase());
    return text;
  }
  function order(at, down) { state.sort = at; state.down = down; choose(); }
  function choose() {
    const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const value = columns[state.sort].value;
    state.rows = rows.filter((row) => (!choice.value || picks(row, choice.value)) && wanted.every((word) => searchable(row).includes(word)));
    state.rows.sort((a, b) => {
      const [one, two] = [value(a), value(b)];
      if (one === two) return 0;
      if (one === null || one === "") return 1;
      if (two === null || two === "") return -1;
      return (one < two ? -1 : 1) * (state.down ? -1 : 1);
    });
    heads.forEach((cell, at) => cell.setAttribute("aria-sort", at === state.sort ? (state.down ? "descending" : "ascending") : "none"));
    sorter.value = `${state.sort} ${state.down}`;
    state.page = 0;
    draw();
  }
  function draw(most) {
    state.size = most || sizes[narrow.matches ? 1 : 0];
    state.page = Math.min(state.page, pages() - 1);
    const first = state.page * state.size;
    const visible = state.rows.slice(first, first + state.size);
    body.replaceChildren();
    for (const row of visible) {
      const entry = line(body, columns, row);
      if (detail) expander(entry, row);
    }
    where.textContent = visible.length ? `${number(first + 1, 0)}–${number(first + visible.length, 0)} of ${many(state.rows.length, what)}` : `no ${what} matches`;
    for (const button of back) button.disabled = state.page === 0;
    for (const button of next) button.disabled = state.page + 1 >= pages();
  }
  function expander(entry, row) {
    const button = make("button", entry.firstChild, "Details", {type: "button", class: "link"});
    let below = null;
    const toggle = (open) => {
      button.setAttribute("aria-expanded", open);
      entry.classList.toggle("opened", open);
      state.opened[open ? "add" : "delete"](row);
      if (below) below.remove();
      below = null;
      if (!open) return;
      below = make("tr", body, null, {class: "detail"});
      entry.after(below);
      detail(make("td", below, null, {colspan: columns.length}), row);
    };
    button.addEventListener("click", () => toggle(!below));
    toggle(state.opened.has(row));
  }
  filter.addEventListener("input", choose);
  choice.addEventListener("change", choose);
  sorter.addEventListener("change", () => { const [at, down] = sorter.value.split(" "); order(Number(at), down === "true"); });
  narrow.addEventListener("change", () => draw());
  choose();
  return {draw, find: (text) => { filter.value = text; choice.value = ""; choose(); filter.focus(); }};
}

const CLASSES = [...new Set([...Object.keys(data.savings.targets), ...data.chains.map((chain) => chain.advice).filter((name) => name !== KEEP)])];
const moving = (chain) => chain.advice !== KEEP;
const named = (chain) => chain.volume_id || (chain.copy ? `copy ${chain.first}` : chain.first);
// Said only where there is more than one.
const place = (region, account) => data.totals.regions.length > 1 ? [region, account].filter(Boolean).join(" · ") : "";

function header() {
  const report = data.report;
  const sizes = report.exact ? "the blocks billed on" : "averages of the month until";
  id("about").textContent = `Bill of ${report.period}${report.complete ? "" : `, not complete: billed until ${report.last_day}`} ` +
    `(${report.kinds.join(", ")}, ${report.granularity}), analysed ${data.made}. Sizes are ${sizes} ${report.last_day}.`;
  const box = id("cautions");
  box.hidden = !data.cautions.length;
  for (const text of data.cautions) make("li", box.querySelector("ul"), text);
}

function answer() {
  const {savings} = data;
  const some = savings.chains > 0;
  const sure = cents(savings.saving_least) === cents(savings.saving_likely);
  id("headline").textContent = some ? `Move ${many(savings.snapshots, "snapshot")} of ${many(savings.chains, "volume")}: that saves ${sure ? "" : "about "}${money(savings.saving_likely)} a month`
    : "Keep everything where it is: no move saves enough";
  const payback = savings.saving_likely > 0 ? savings.once / savings.saving_likely : null;
  const pays = payback === null ? "" : payback < 1 ? ", which pays back within a month" : `, which pays back after ${number(payback, 1)} months`;
  const certain = sure ? "All of that is certain." : `Of that, ${money(savings.saving_least)} is certain; at most it is ${money(savings.saving_most)}.`;
  id("more").textContent = some ? `${certain} Moving costs ${money(savings.once)} once${pays}. You save nothing until you delete the snapshots that were moved.`
    : `${many(data.rows.length, "snapshot")} of ${many(data.chains.length, "volume")} were analysed. The table says why each stays.`;
  const figure = (value, what) => { const pair = make("div", id("figures")); make("dt", pair, what); make("dd", pair, value); };
  figure(money(savings.monthly), `a month is paid today, by what was billed on ${data.report.last_day}`);
  if (some) {
    figure(money(savings.saving_likely), sure ? "a month is saved, all of it certain" : "a month is saved, likely");
    if (!sure) figure(money(savings.saving_least), "a month of that is certain");
    figure(money(savings.once), "once, to move them");
    figure(money(savings.first_year), `is saved in the first year, after one-time costs; ${money(savings.later_year)} in each year after`);
  }
  figure(money(data.totals.snapshots), `of the ${money(data.totals.bill)} on the bill are for these ${many(data.rows.length, "snapshot")}`);
}

function targets() {
  const rows = Object.entries(data.savings.targets).map(([name, sums]) => {
    const chosen = data.chains.filter((chain) => chain.advice === name).map((chain) => chain.chosen);
    return {name, ...sums, hours: hours(sums.hours_to_first_byte), days: Math.max(0, ...chosen.map((option) => option.minimum_days)), back: chosen.reduce((sum, option) => sum + option.bring_back, 0)};
  });
  id("targets-title").hidden = id("targets").hidden = !rows.length;
  const column = (title, unit, key, digits) => ({title, unit, digits, value: (row) => row[key]});
  const sum = (key) => rows.reduce((total, row) => total + row[key], 0);
  list(id("targets"), [
    {title: "Move to", value: (row) => row.name}, column("Volumes", "", "chains", 0), column("Snapshots", "", "snapshots", 0), column("Takes there", "GiB", "gib", 1),
    column("Saves at least", monthly, "saving_least", 2), column("Likely", monthly, "saving_likely", 2), column("At most", monthly, "saving_most", 2),
    column("Costs once", coin, "once", 2), column("Readable", "", "hours"), column("One back", coin, "bring_back_one", 2), column("All back", coin, "back", 2), column("Paid for at least", "days", "days", 0),
  ], rows, rows.length > 1 ? {name: "together", chains: sum("chains"), snapshots: sum("snapshots"), gib: sum("gib"), saving_least: sum("saving_least"),
    saving_likely: sum("saving_likely"), saving_most: sum("saving_most"), once: sum("once"), hours: "", bring_back_one: null, days: null, back: sum("back")} : null);
}

function risks() {
  const {savings, assumptions, totals} = data;
  const say = (text) => make("li", id("risks"), text);
  if (savings.chains) {
    say("Certain (at least) is what nothing else can hold, with archives as large as all that the snapshots hold. Likely is what you save if nothing shares blocks without a sign of it.");
    say(`Archives take ${number(100 * assumptions.compression, 0)}% of what a snapshot holds: ${assumptions.measured ? "measured on archives already made" : "assumed, not measured"}.`);
    const slow = CLASSES.filter((name) => savings.targets[name] && savings.targets[name].hours_to_first_byte);
    for (const name of slow) {
      const {hours_to_first_byte: time, bring_back_one: price} = savings.targets[name];
      const sooner = soonest(name);
      say(`${name} is readable ${hours(time)} when you ask for it; to restore one snapshot costs up to ${money(price)}.` + (sooner ? ` ${sooner}` : ""));
    }
    say(`Figures are for ${assumptions.months} months, with ${number(100 * assumptions.retrievals, 0)}% restored in a year.`);
  }
  const unknown = data.chains.filter((chain) => !chain.volume_id && !chain.copy);
  if (unknown.length) say(`The volume of ${many(unknown.length, "snapshot")} (${money(unknown.reduce((sum, chain) => sum + chain.monthly, 0))} a month) is not known: they stay.`);
  const {gone, gone_monthly: went, new: came} = savings.since;
  if (gone) say(`Deleted since the bill: ${many(gone, "snapshot")} of ${money(went)} a month; blocks that others hold are billed with those now.`);
  const {binned, binned_monthly: kept, binned_until: until} = savings.since;
  if (binned) say(`In the Recycle Bin: ${many(binned, "snapshot")} of ${money(kept)} a month, paid for until ${until}.`);
  if (came) say(`Made since, and not on the bill: ${many(came, "snapshot")}.`);
  const rest = totals.not_analysed.filter((other) => other.cost).sort((a, b) => b.cost - a.cost);
  if (rest.length) say(`${money(rest.reduce((sum, other) => sum + other.cost, 0))} of the bill is for other things and was not analysed.`);
}

// What the next class that is back sooner would cost more, over all that goes to a class that sleeps.
function soonest(name) {
  const more = {};
  for (const {advice, sooner} of data.chains) if (advice === name && sooner) (more[sooner.target] ??= {hours: sooner.hours, more: 0}).more += sooner.more;
  return Object.entries(more).map(([target, each]) => `${target} is readable ${hours(each.hours)}, for ${money(each.more)} a month more.`).join(" ");
}

// What else is worth a decision.
function besides() {
  const {fast} = data, {deletions, fast: sum} = data.savings;
  const box = id("besides");
  if (fast.length) {
    const item = make("li", box, `Switch fast snapshot restore off where nobody needs it: ${money(sum)} a month for ${many(fast.length, "snapshot")}. `);
    const ten = fast.slice(0, 10).map((row) => `${[row.snapshot_id, row.name].filter(Boolean).join(" ")}, ${money(row.monthly)}, ${row.zones.length ? `on in ${row.zones.join(", ")}` : "billed on the last day"}`);
    make("span", item, ten.join("; ") + (fast.length > ten.length ? `; and ${fast.length - ten.length} more.` : "."), {class: "soft"});
  }
  if (deletions.chains) make("li", box, `Instead of moving, keep only the newest of each volume and archive nothing: that gives up ${many(deletions.snapshots, "snapshot")} of ${many(deletions.chains, "volume")} ` +
    `for about ${money(deletions.saving_likely)} a month, at least ${money(deletions.saving_least)}.`);
  id("besides-title").hidden = !box.children.length;
}

function advised(chain) {
  return moving(chain) ? `move ${chain.chosen.which} to ${chain.advice}` : KEEP;
}

const CHAINS = [
  {
    title: "Volume", value: named, words: (chain) => [named(chain), chain.name, chain.region, chain.account, chain.volume_gone ? "gone" : ""].join(" "),
    draw(cell, chain) {
      make("span", cell, named(chain), {class: "id"});
      if (chain.name) make("span", cell, chain.name, {class: "name", dir: "auto"});
      make("small", cell, [place(chain.region, chain.account), chain.volume_gone ? "volume is gone" : chain.volume_id || chain.copy ? "" : "volume not known"].filter(Boolean).join(" · "));
    },
  },
  {title: "Snapshots", digits: 0, value: (chain) => chain.count},
  {title: "Billed", unit: "GiB", digits: 1, value: (chain) => chain.billed_gib},
  {title: "Change", unit: "% a snapshot", digits: 1, value: (chain) => chain.average_change_percent},
  {title: "Today", unit: monthly, digits: 2, value: (chain) => chain.monthly},
  {
    title: "Advice", value: advised, kind: "long", words: (chain) => `${advised(chain)} ${chain.reason}`,
    draw(cell, chain) {
      make("span", cell, advised(chain));
      if (!moving(chain)) make("small", cell, chain.reason);
    },
  },
  {
    title: "Saves, likely", unit: monthly, digits: 2, value: (chain) => moving(chain) ? chain.chosen.saving_likely : null,
    draw(cell, chain) {
      if (!moving(chain)) return cell.classList.add("empty");
      const {saving_least: least, saving_likely: likely, saving_most: most} = chain.chosen;
      make("span", cell, cents(likely));
      if (cents(least) !== cents(most)) make("small", cell, `${cents(least)} to ${cents(most)}`);
    },
  },
  {title: "Once", unit: coin, digits: 2, value: (chain) => moving(chain) ? chain.chosen.once : null},
  {title: "Pays back", unit: "months", digits: 1, value: (chain) => moving(chain) ? chain.chosen.payback_months : null},
];

function chainDetail(cell, chain) {
  const {sooner, chosen} = chain;
  const back = moving(chain) ? ` It is readable ${hours(chosen.hours_to_first_byte)}${sooner ? `; ${sooner.target} is readable ${hours(sooner.hours)}, for ${money(sooner.more)} a month more` : ""}.` : "";
  make("p", cell, `${advised(chain)}: ${chain.reason}.${back}`);
  const {deletion} = chain;
  if (deletion) make("p", cell, `Or keep only the newest and archive nothing: that saves about ${money(deletion.saving_likely)} a month, at least ${money(deletion.saving_least)}.`);
  if (cents(chain.net_cost) !== cents(chain.cost) || cents(chain.list_cost) !== cents(chain.cost)) make("p", cell, `On the bill ${dollars(chain)}.`);
  const button = make("button", cell, `Show its ${many(chain.count, "snapshot")}`, {type: "button", class: "link"});
  button.addEventListener("click", () => {
    id("snapshots-part").open = true;
    grids.snapshots.find(chain.volume_id || chain.first);
    id("snapshots-part").scrollIntoView();
  });
  if (!chain.options || !chain.options.length) return;
  const value = (name) => (option) => option[data.option_columns.indexOf(name)];
  if (chain.options.some((option) => value("which")(option) === THIN)) make("p", cell, `"${THIN}" archives the newest of each month and gives up the others.`, {class: "soft"});
  const column = (title, unit, name, digits) => ({title, unit, digits, value: value(name)});
  list(make("table", cell, null, {"aria-label": "What could be done"}), [
    {title: "What could be done", value: (option) => `${value("which")(option)} to ${value("target")(option)}`},
    column("Saves at least", monthly, "saving_least", 2), column("Likely", monthly, "saving_likely", 2), column("Once", coin, "once", 2),
    {title: "Readable", value: (option) => hours(value("hours_to_first_byte")(option))}, column("All back", coin, "bring_back", 2),
    column("Paid for at least", "days", "minimum_days", 0),
    column(`All of ${data.assumptions.months} months`, coin, "total", 2),
  ], chain.options);
}

const STATES = {bin: "in the Recycle Bin", standard: "", archive: "EBS archive", ended: "ended in the period", gone: "gone since the bill"};
const at = (name) => { const where = data.columns.indexOf(name); return (row) => row[where]; };
const of = Object.fromEntries(data.columns.map((name) => [name, at(name)]));
const stateOf = (row) => STATES[of.state(row)] ?? of.state(row);
const tagsOf = (row) => Object.entries(of.tags(row)).map(([tag, value]) => `${tag}=${value}`);
const adviceOf = (row) => of.advice(row) === KEEP ? KEEP : `${of.advice(row)} to ${of.storage_class(row)}`;
const SNAPSHOTS = [
  {
    title: "Snapshot", value: of.snapshot_id, words: (row) => [of.snapshot_id(row), of.name(row), ...tagsOf(row), of.description(row)].join(" "),
    draw(cell, row) {
      make("span", cell, of.snapshot_id(row), {class: "id"});
      if (of.name(row)) make("span", cell, of.name(row), {class: "name", dir: "auto"});
      for (const tag of tagsOf(row)) make("small", cell, tag, {dir: "auto"});
      if (of.description(row)) make("small", cell, of.description(row), {dir: "auto"});
    },
  },
  {
    title: "Volume", value: of.volume_id, words: (row) => [of.volume_id(row), of.region(row), of.account(row)].join(" "),
    draw(cell, row) {
      make("span", cell, of.volume_id(row) || "not known", {class: "id"});
      make("small", cell, place(of.region(row), of.account(row)));
    },
  },
  {
    title: "Started", value: of.start_time, words: (row) => `${of.start_time(row)} ${stateOf(row)}`, kind: "text",
    draw(cell, row) {
      make("span", cell, of.start_time(row).slice(0, 10) || "not known", {title: of.start_time(row)});
      if (stateOf(row)) make("small", cell, stateOf(row));
    },
  },
  {title: "Billed", unit: "GiB", digits: 3, value: of.billed_gib},
  {
    title: "Cost", unit: `${coin} in the period`, digits: 2, value: of.cost,
    draw(cell, row) {
      make("span", cell, cents(of.cost(row)));
      for (const [what, value] of [["net", of.net_cost(row)], ["list", of.list_cost(row)]]) if (cents(value) !== cents(of.cost(row))) make("small", cell, `${what} ${cents(value)}`);
      if (of.fast_monthly(row)) make("small", cell, `fast restore ${cents(of.fast_monthly(row))} a month`);
    },
  },
  {title: "Change", unit: "%", digits: 1, value: of.change_percent},
  {title: "Frees", unit: "GiB", digits: 2, value: of.frees_gib_least, text: (row) => {
    const [least, most] = [number(of.frees_gib_least(row), 2), number(of.frees_gib_most(row), 2)];
    return least === most ? least : `${least} – ${most}`;
  }},
  {
    title: "Advice", value: adviceOf, kind: "long", words: (row) => `${adviceOf(row)} ${of.keeper(row)}`,
    draw(cell, row) {
      make("span", cell, adviceOf(row));
      if (of.keeper(row)) make("small", cell, of.keeper(row));
    },
  },
];

const dollars = (row) => `${money(row.cost)}, net ${money(row.net_cost)}, list ${money(row.list_cost)}`;

function totals() {
  const {kinds, ages, regions, not_analysed: rest, bill} = data.totals;
  const unit = `${coin} in the period`, three = ["cost", "net_cost", "list_cost"];
  const prices = ["Cost", "Net", "List"].map((title, at) => ({title, unit, digits: 2, value: (row) => row[three[at]]}));
  const sum = (rows) => Object.fromEntries(three.map((name) => [name, rows.reduce((total, row) => total + row[name], 0)]));
  const column = (title, name, digits, unit) => ({title, unit, digits, value: (row) => row[name]});
  id("bill").querySelector("summary span").textContent = `${money(bill)} for ${data.report.period}`;
  list(id("kinds"), [column("For snapshots", "what"), ...prices], kinds, {what: "together", ...sum(kinds)});
  const old = {under: "under one year", over: "over one year", unknown: "not known"};
  const counted = [column("Snapshots", "snapshots", 0), column("Billed", "gib", 2, "GiB")];
  list(id("ages"), [{title: "Age", value: (row) => old[row.age]}, ...counted, column("Today", "monthly", 2, monthly), ...prices], ages);
  list(id("regions"), [{title: "Region, account", value: (row) => row.together ? "together" : `${row.region}, account ${row.account || "not known"}`}, ...counted, ...prices], regions, {...sum(regions), together: true});
  const rows = [{group: "snapshots", what: "as above", cost: data.totals.snapshots}, ...rest.map((other) => ({...other, group: `not analysed: ${other.group}`}))];
  list(id("totals"), [column("All of the bill", "group"), column("Of it", "what"), prices[0]], rows, {group: "the whole bill", what: "", cost: bill});
}

function assumed() {
  const given = data.assumptions;
  const say = (text) => make("li", id("assumed"), text);
  for (const text of data.assumed) say(text);
  say(`Of volumes in use the newest ${given.keep_newest} stay; a volume without a snapshot for ${given.cold_days} days is cold.`);
  say(`Moves that save less than ${money(given.minimum)} a month, or do not pay back within ${given.months} months, are not advised.`);
  say(`Storage classes looked at: ${given.classes.join(", ")}.`);
  for (const [region, rate] of Object.entries(data.rates)) say(`A GB-month in EBS really costs ${sign}${rate.toFixed(4)} in ${region}, by the bill.`);
  for (const {what, why} of data.not_priced) say(`Not priced: ${what}; ${why}.`);
}

header(); answer(); risks(); targets(); besides(); totals(); assumed();
const choices = [[KEEP, KEEP], ...CLASSES.map((name) => [name, `move to ${name}`])];
const grids = {
  chains: grid("chains", {
    what: "volume", columns: CHAINS, rows: data.chains, sort: CHAINS.findIndex((column) => column.title === "Saves, likely"), sizes: [25, 10], detail: chainDetail,
    choices, picks: (chain, value) => chain.advice === value,
  }),
  snapshots: grid("snapshots", {
    what: "snapshot", columns: SNAPSHOTS, rows: data.rows, sort: SNAPSHOTS.findIndex((column) => column.title === "Cost"), sizes: [50, 10],
    choices, picks: (row, value) => of.advice(row) === value || of.storage_class(row) === value,
  }),
};
id("snapshots-part").querySelector("summary span").textContent = `all ${number(data.rows.length, 0)}, with filter and order`;

// On paper: more volumes at once, and nothing that matters folded away.
const PRINTED = 200;
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details.printed:not([open])")];
  for (const part of folded) part.open = true;
  drawPlots(true);
  grids.chains.draw(PRINTED);
});
addEventListener("afterprint", () => {
  for (const part of folded) part.open = false;
  drawPlots();
  grids.chains.draw();
});
