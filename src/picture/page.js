"use strict";
// The page of one run. Data is what the simulator recorded; the rules of what is drawn and where
// are those of scene.rs and layout.rs, and #selftest compares them.

const D = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const GAP = 1000, ROW = 15, BAND = 30, TOP = 26, LEFT = 104, PITCH = 134;
const CAMPAIGNS = 0, LEADS = 1, PROMISED = 2, DEAD = 3, ASLEEP = 4, CUTOFF = 5;
const READ = 1, LOST = 2, SILENT = new Set([0, 6, 8]), BARRED = new Set([3, 4, 5]);
const ACCEPTED = 0, LEARNED = 1, TOLD = 2;
const BACKGROUND = new Set(["Heartbeat", "Echo"]);

// ------------------------------------------------------------------ data

const messages = D.m.map((row, n) => {
  const copies = [];
  for (let at = 11; at < row.length; at += 3)
    copies.push({ to: row[at], fate: row[at + 1], t: row[0] + row[at + 2] });
  return { n, t: row[0], from: row[1], kind: D.kinds[row[2]], ballot: row[3], label: D.words[row[4]],
    full: D.words[row[5]], bytes: row[6], asker: row[7], noise: !!row[8], spans: row[9] || [],
    reports: row[10] || [], copies };
});
const kindCounts = {};
for (const m of messages) kindCounts[m.kind] = (kindCounts[m.kind] || 0) + 1;
const beliefs = D.nodes.map(() => []), reads = D.nodes.map(() => []), votes = D.nodes.map(() => []);
for (const [t, node, what] of D.beliefs) beliefs[node].push([t, what]);
for (const m of messages) for (const c of m.copies) if (c.fate === READ) reads[c.to].push([c.t, m]);
for (const list of reads) list.sort((a, b) => a[0] - b[0]);
for (const chip of D.chips) if (chip[2] === ACCEPTED) votes[chip[1]].push(chip);
const beats = D.nodes.map(() => new Set());
for (const m of messages) if (m.kind === "Heartbeat" && !m.noise) beats[m.from].add(m.t);

/** The last entry of a list by time that is not after t. */
function lastBefore(list, t) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle][0] <= t) low = middle + 1; else high = middle;
  }
  return list[low - 1];
}
const spansText = spans => spans.map(([a, b]) => a === b ? a : a + "–" + b).join(", ");
const ms = t => t === 0 ? "0" : Math.floor(t / 1000) + "." + String(t % 1000).padStart(3, "0") + " ms";
const length = us => us >= 10000 ? (us / 1000).toFixed(0) + " ms"
  : us >= 1000 ? (us / 1000).toFixed(1) + " ms" : us + " µs";

// ------------------------------------------------------------------ what is shown

const state = { now: 0, hide: new Set(BACKGROUND), lanes: null, instances: null, lost: false,
  text: "", zoom: 0, tab: "beliefs", selected: null, lane: null, causal: null, speed: 600 };
let view; // the layout of what passes the filters

function wants(spans) {
  const range = state.instances;
  return !range || spans.some(([a, b]) => a <= range[1] && range[0] <= b);
}
const isUnread = copies => copies.every(c => c.fate !== READ);

/** The copies that are drawn, as in scene.rs. */
function drawn(m) {
  const heard = !isUnread(m.copies);
  return m.copies.filter(c => {
    if (m.noise && c.fate !== READ) return false;
    if (c.fate === READ) return true;
    if (SILENT.has(c.fate)) return m.asker < 0 ? !heard : m.asker === c.to;
    return m.asker < 0 || m.asker === c.to;
  });
}

function passes(m) {
  if (state.hide.has(m.kind) || !wants(m.spans)) return false;
  if (state.lost && !m.copies.some(c => c.fate === LOST || BARRED.has(c.fate))) return false;
  return !state.text || m.full.toLowerCase().includes(state.text) || m.label.toLowerCase().includes(state.text);
}

/** Messages as they are drawn: equal ones of a turn are one, vain repetitions are counted. */
function fansOf() {
  const fans = [];
  for (const m of messages) {
    if (!passes(m)) continue;
    let copies = drawn(m);
    if (state.lanes)
      copies = state.lanes.has(m.from) ? copies.filter(c => state.lanes.has(c.to)) : [];
    if (!copies.length) continue;
    let same = null;
    for (let at = fans.length - 1; at >= 0 && fans[at].t === m.t; at--)
      if (fans[at].from === m.from && fans[at].full === m.full) { same = fans[at]; break; }
    if (same && !m.noise) {
      same.copies = same.copies.concat(copies);
      if (!isUnread(same.copies) && m.asker < 0) same.copies = same.copies.filter(c => !SILENT.has(c.fate));
      continue;
    }
    const last = fans[fans.length - 1];
    if (last && last.from === m.from && last.full === m.full && !last.noise
      && isUnread(last.copies) && isUnread(copies)
      && last.copies.map(c => c.to + ":" + c.fate).join() === copies.map(c => c.to + ":" + c.fate).join()) {
      last.count = (last.count || 1) + 1;
      last.until = m.t;
      continue;
    }
    fans.push(Object.assign({}, m, { copies, m }));
  }
  return fans;
}

// ------------------------------------------------------------------ where it is

function layOut() {
  const fans = fansOf();
  const rows = new Map(), widest = new Map(), times = new Set();
  for (const fan of fans) {
    const key = fan.t + ":" + fan.from;
    fan.row = rows.get(key) || 0;
    rows.set(key, fan.row + 1);
    widest.set(fan.t, Math.max(widest.get(fan.t) || 1, fan.row + 1));
    times.add(fan.t);
    for (const c of fan.copies) if (c.fate === READ) times.add(c.t);
  }
  const inLanes = node => !state.lanes || state.lanes.has(node);
  const chips = D.chips.filter(c => inLanes(c[1]) && (c[2] === TOLD || wants(c[4])));
  for (const chip of chips) times.add(chip[0]);
  for (const [t] of D.story) times.add(t);
  const ticks = [...times].sort((a, b) => a - b), y = new Map(), gaps = [];
  const scale = Math.pow(1.35, state.zoom);
  const extra = t => ((widest.get(t) || 1) - 1) * ROW * Math.min(1, scale);
  let before = null, at = TOP, bottom = TOP + 40;
  for (const t of ticks) {
    if (before === null) at = TOP + 26;
    else if (t - before > GAP) {
      const top = at + extra(before) + 26 * Math.min(1, scale);
      gaps.push({ from: before, until: t, top });
      at = top + BAND + 24 * Math.min(1, scale);
    } else at += Math.min(34, 13 + 6 * Math.log2(1 + (t - before) / 12)) * scale + extra(before);
    y.set(t, at);
    bottom = at + extra(t) + 40;
    before = t;
  }
  const seen = new Set();
  for (const fan of fans) { seen.add(fan.from); for (const c of fan.copies) seen.add(c.to); }
  for (const chip of chips) seen.add(chip[1]);
  for (const s of D.story) if (s[1] >= 0) seen.add(s[1]);
  const nodes = D.nodes.map((_, n) => n).filter(n => seen.has(n) && inLanes(n));
  const x = new Map(nodes.map((n, place) => [n, LEFT + PITCH * (place + 0.5)]));
  view = { fans, chips, ticks, y, gaps, bottom, nodes, x, steps: stepsOf(fans, chips),
    width: LEFT + PITCH * nodes.length + 20, scale };
  for (const fan of fans) {
    fan.y0 = y.get(fan.t) + ROW * fan.row * Math.min(1, scale);
    fan.y1 = Math.max(fan.y0 + 60, ...fan.copies.map(c => c.fate === READ ? y.get(c.t) : 0));
  }
  $("sheet").style.height = view.bottom + "px";
  $("sheet").style.width = $("diagram").style.width = view.width + "px";
}

/** A step is one turn of one process, or something that happens to the run. */
function stepsOf(fans, chips) {
  const steps = new Map();
  const add = (t, node) => steps.set(t + ":" + node, { t, node });
  for (const fan of fans) {
    add(fan.t, fan.from);
    for (const c of fan.copies) if (c.fate === READ) add(c.t, c.to);
  }
  for (const chip of chips) add(chip[0], chip[1]);
  for (const [t, node] of D.story) add(t, node);
  return [...steps.values()].sort((a, b) => a.t - b.t || a.node - b.node);
}

/** Where a moment is that may not be drawn itself. */
function yAt(t) {
  const ticks = view.ticks;
  let low = 0, high = ticks.length;
  while (low < high) { const middle = (low + high) >> 1; if (ticks[middle] <= t) low = middle + 1; else high = middle; }
  return low ? view.y.get(ticks[low - 1]) : TOP - 14;
}

/** Where a datagram that left at `sent` would have been read `after` later, as in layout.rs. */
function wouldBe(sent, after) {
  const ticks = view.ticks, t = sent + after;
  let before = sent, y = view.y.get(sent);
  for (let at = ticks.indexOf(sent) + 1; at > 0 && at < ticks.length; at++) {
    const tick = ticks[at];
    if (tick - before > GAP) break;
    if (tick >= t) return y + (view.y.get(tick) - y) * (t - before) / (tick - before);
    before = tick; y = view.y.get(tick);
  }
  return Math.max(y, view.y.get(sent) + 26);
}

// ------------------------------------------------------------------ drawing

const NS = "http://www.w3.org/2000/svg";
function add(parent, name, attributes, text) {
  const element = document.createElementNS(NS, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
  return element;
}
function html(parent, name, attributes, text) {
  const element = document.createElement(name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
  return element;
}
const colour = ballot => ballot < 0 ? -1 : ballot % 5;
const solid = ballot => ballot % 2 === 0;
const f1 = number => Math.round(number * 10) / 10;

function lineClass(fan) {
  const kinds = { Prepare: "dash", Promise: "dash", Decide: "thick", Request: "thin", RequestAck: "thin",
    Plea: "thin", Offer: "thin", DecideAck: "dot thin", Heartbeat: "dot thin", Echo: "dot thin" };
  return `a s${colour(fan.ballot)} ${kinds[fan.kind] || ""}`;
}

function head(parent, x, y, angle, cls) {
  const corner = turn => f1(x - 8 * Math.cos(angle + turn)) + " " + f1(y - 8 * Math.sin(angle + turn));
  add(parent, "path", { class: cls, d: `M${f1(x)} ${f1(y)}L${corner(-0.4)}L${corner(0.4)}z` });
}
const cross = (parent, x, y, r, cls) =>
  add(parent, "path", { class: cls, d: `M${f1(x - r)} ${f1(y - r)}l${2 * r} ${2 * r}M${f1(x - r)} ${f1(y + r)}l${2 * r} ${-2 * r}` });

/** Draws what is visible; nothing else is in the document. */
function draw() {
  const svg = $("diagram"), box = $("view");
  const top = Math.max(0, box.scrollTop - 200), height = box.clientHeight + 400;
  svg.style.top = top + "px";
  svg.style.height = height + "px";
  svg.setAttribute("viewBox", `0 ${top} ${view.width} ${height}`);
  [...svg.children].forEach(child => { if (child.id !== "desc") child.remove(); });
  const shows = (from, until) => from <= top + height && until >= top;
  const x = view.x, right = view.width - 20;
  if (x.has(state.lane)) add(svg, "rect", { class: "laneon", x: x.get(state.lane) - PITCH / 2, y: top, width: PITCH, height });
  for (const at of x.values()) add(svg, "line", { class: "life", x1: at, x2: at, y1: Math.max(top, 8), y2: Math.min(top + height, view.bottom) });
  for (const gap of view.gaps) if (shows(gap.top, gap.top + BAND))
    add(svg, "rect", { class: "gap", x: 20, y: f1(gap.top), width: right - 20, height: BAND, rx: 3 });
  drawBands(svg, shows);
  drawTimes(svg, shows, right);
  const labels = view.scale > 0.62, past = causal();
  const fans = view.fans.filter(fan => shows(fan.y0 - 20, fan.y1));
  for (const fan of fans) drawFan(svg, fan, labels, past);
  for (const chip of view.chips) if (x.has(chip[1]) && shows(view.y.get(chip[0]) - 10, view.y.get(chip[0]) + 10)) drawChip(svg, chip);
  for (const [node, from, until, is] of D.bands)
    if (is === DEAD && from > 0 && x.has(node)) cross(svg, x.get(node), yAt(from), 6, "x");
  const places = new Map();
  D.story.forEach(([t, node, , topic], n) => {
    const y = yAt(t);
    if (node < 0 || !x.has(node) || !shows(y, y)) return;
    const shift = places.get(t + ":" + node) || 0;
    places.set(t + ":" + node, shift + 1);
    const wide = Math.max(16, String(n + 1).length * 6.5 + 6);
    const at = x.get(node) + 17 * shift + (topic === 0 ? 0 : topic === 2 ? chipHalf(t, node) + wide / 2 + 3 : 20);
    if (topic === 2 && labels) {
      add(svg, "rect", { class: "bg", x: at + wide / 2, y: f1(y - 7), width: 44, height: 14 });
      add(svg, "text", { x: at + wide / 2 + 3, y: f1(y + 3.6), class: "b" }, "chosen");
    }
    add(svg, "rect", { class: "badge", x: f1(at - wide / 2), y: f1(y - 8), width: wide, height: 16, rx: 8 });
    add(svg, "text", { x: at, y: f1(y + 3.5), "text-anchor": "middle", class: "b" }, n + 1);
  });
  const now = yAt(state.now);
  add(svg, "line", { class: "cursor", x1: 20, x2: right, y1: f1(now), y2: f1(now) });
  drawHeads();
}

function drawBands(svg, shows) {
  for (const [node, from, until, is, ballot] of D.bands) {
    if (!view.x.has(node)) continue;
    const x = view.x.get(node), a = from ? yAt(from) : 8, z = until < 0 ? view.bottom : yAt(until);
    if (z <= a || !shows(a, z)) continue;
    const rect = (cls, left, width) => add(svg, "rect", { class: cls, x: left, y: f1(a), width, height: f1(z - a) });
    if (is === LEADS) {
      rect("f" + colour(ballot), x - 7, 14);
      const box = $("view");
      for (let at = Math.max(a + 20, box.scrollTop + 60); at + 60 < Math.min(z, box.scrollTop + box.clientHeight); at += 260)
        add(svg, "text", { class: "chipt", transform: `translate(${x - 3.4} ${f1(at)}) rotate(90)` }, "leads " + D.ballots[ballot]);
    } else if (is === CAMPAIGNS) { rect("page", x - 7, 14); rect(`campaign f${colour(ballot)} s${colour(ballot)}`, x - 7, 14); }
    else if (is === PROMISED && solid(ballot)) rect("f" + colour(ballot), x - 2.4, 4.8);
    else if (is === PROMISED) rect(`hollow s${colour(ballot)}`, x - 2.5, 5);
    else if (is === DEAD) {
      add(svg, "line", { class: "hide", x1: x, x2: x, y1: f1(a), y2: f1(z) });
      add(svg, "line", { class: "gone", x1: x, x2: x, y1: f1(a), y2: f1(z) });
    } else if (is === ASLEEP) rect("asleep", x - 5, 10);
    else if (is === CUTOFF) rect("cutoff", x - 12, 24);
  }
}

function drawTimes(svg, shows, right) {
  for (const gap of view.gaps) {
    if (!shows(gap.top, gap.top + BAND)) continue;
    const y = f1(gap.top + 19);
    add(svg, "text", { class: "muted b", x: LEFT - 14, y, "text-anchor": "end" }, length(gap.until - gap.from));
    if (!state.hide.has("Heartbeat")) continue;
    for (const [node, x] of view.x) {
      let count = 0;
      for (const t of beats[node]) if (t > gap.from + 100 && t < gap.until) count++;
      if (count) add(svg, "text", { class: "muted", x: x + 12, y }, "♥ ×" + count);
    }
  }
  let burst = 0, before = null, written = -99;
  for (const t of view.ticks) {
    const y = view.y.get(t), first = before === null || t - before > GAP;
    before = t;
    if (first) burst = t;
    if (!first && y - written < 13) continue;
    written = y;
    if (!shows(y, y)) continue;
    add(svg, "text", { class: first ? "b mono" : "muted mono", x: LEFT - 14, y: f1(y + 4), "text-anchor": "end" },
      first ? ms(t) : "+" + (t - burst) + " µs");
  }
}

function drawFan(svg, fan, labels, past) {
  const x0 = view.x.get(fan.from);
  if (x0 === undefined) return;
  const isSelected = state.selected === fan.n, faded = past && !past.has(fan.n);
  const group = add(svg, "g", { class: isSelected ? "sel" : faded ? "fade" : "" });
  const line = lineClass(fan), mark = "end s" + colour(fan.ballot);
  const onLine = fan.asker >= 0;
  let first = null, right = 0;
  for (const c of fan.copies) {
    const x1 = view.x.get(c.to);
    if (x1 === undefined) continue;
    const side = x1 > x0 ? 1 : -1, from = x0 + side * (D.nodes[fan.from][0] === "P" ? 8 : 4), y0 = fan.y0;
    let y1;
    right += side;
    if (c.fate === READ) {
      y1 = view.y.get(c.t);
      const start = fan.noise ? x1 - 50 : from, startY = fan.noise ? y1 : y0;
      const tip = x1 - (fan.noise ? 1 : side) * (D.nodes[c.to][0] === "P" ? 9 : 11), angle = Math.atan2(y1 - startY, tip - start);
      const d = `M${f1(start)} ${f1(startY)}L${f1(tip - 6 * Math.cos(angle))} ${f1(y1 - 6 * Math.sin(angle))}`;
      add(group, "path", { class: line, d });
      head(group, tip, y1, angle, "f" + colour(fan.ballot));
      add(group, "path", { class: "hit", d });
    } else if (c.fate === LOST || BARRED.has(c.fate)) {
      y1 = y0 + Math.max(14, wouldBe(fan.t, 55) - view.y.get(fan.t));
      const share = Math.abs(x1 - x0) < 1.5 * PITCH ? 0.6 : 0.45, x = x0 + (x1 - x0) * share, y = y0 + (y1 - y0) * share;
      const d = `M${f1(from)} ${f1(y0)}L${f1(x - side * 8)} ${f1(y - (y - y0) * 8 / Math.abs(x - x0))}`;
      add(group, "path", { class: line, d });
      add(group, "path", { class: "hit", d });
      if (c.fate === LOST) cross(group, x, y, 3.6, mark);
      else for (const bar of [x - 2.5, x + 2.5]) add(group, "path", { class: mark, d: `M${f1(bar)} ${f1(y - 5)}v10` });
    } else {
      const x = x1 - side * 13;
      y1 = onLine ? Math.max(y0 + 12, wouldBe(fan.t, 45)) : y0 + 14 * Math.abs(x1 - x0) / PITCH;
      const d = `M${f1(from)} ${f1(y0)}L${f1(x)} ${f1(y1)}`;
      add(group, "path", { class: line + " faint", d });
      add(group, "path", { class: "hit", d });
      if (c.fate === 7 || c.fate === 8) cross(group, x + side * 4, y1, 3.6, mark + " faint");
      else add(group, "path", { class: mark + " faint", d: `M${f1(x)} ${f1(y1 - 5)}v10` });
    }
    if (!first) first = { c, x1, y1 };
  }
  if (!first) return;
  group.addEventListener("click", () => select(fan.n));
  group.addEventListener("mouseenter", () => detail(fan.m));
  if (!(labels || isSelected) || fan.noise) return;
  const text = fan.label + (fan.count ? ` ×${fan.count}` : "") + fan.reports.slice(0, 3).map(([a, b, ballot]) =>
    ` [${spansText([[a, b]])} in ${D.ballots[ballot]}]`).join("");
  const cls = "t" + colour(fan.ballot);
  const put = (x, y, anchor) => {
    const width = text.length * 5.9 + 4, left = anchor === "start" ? x - 2 : anchor === "end" ? x - width + 2 : x - width / 2;
    add(group, "rect", { class: "bg", x: f1(left), y: f1(y - 10), width: f1(width), height: 13 });
    add(group, "text", { class: cls, x: f1(x), y: f1(y), "text-anchor": anchor }, text);
  };
  if (onLine) {
    if (SILENT.has(first.c.fate)) return;
    const along = PITCH * 0.52 / Math.abs(first.x1 - x0);
    put(x0 + (first.x1 - x0) * along, fan.y0 + (first.y1 - fan.y0) * along + 3.6, "middle");
  } else put(x0 + (right >= 0 ? 11 : -11), fan.y0 - 4.5, right >= 0 ? "start" : "end");
}

const chipText = text => text.length > 15 ? text.slice(0, 14) + "…" : text;
const chipWidth = text => Math.max(17, text.length * 6.7 + 9);
function chipHalf(t, node) {
  const chip = view.chips.find(c => c[0] === t && c[1] === node && c[2] !== TOLD);
  return chip ? chipWidth(chipText(spansText(chip[4]))) / 2 : 8;
}

function drawChip(svg, [t, node, is, ballot, spans]) {
  const text = spansText(spans), x = view.x.get(node), y = view.y.get(t);
  const shown = chipText(text), width = chipWidth(shown) + (is === TOLD ? 15 : 0);
  const cls = is === ACCEPTED ? (solid(ballot) ? "f" + colour(ballot) : "hollow s" + colour(ballot)) : is === LEARNED ? "chip" : "know";
  const group = add(svg, "g", {});
  add(group, "rect", { class: cls, x: f1(x - width / 2), y: f1(y - 8), width: f1(width), height: 16, rx: is === ACCEPTED ? 2.5 : 8 });
  if (is === TOLD) add(group, "path", { class: "tick", d: `M${f1(x - width / 2 + 6)} ${f1(y + 0.4)}l2.6 3l5 -6.4` });
  const ink = is === TOLD ? "b" : is === ACCEPTED && !solid(ballot) ? "b t" + colour(ballot) : "chipt";
  add(group, "text", { class: ink, x: f1(x + (is === TOLD ? 7 : 0)), y: f1(y + 3.8), "text-anchor": "middle" }, shown);
  add(group, "title", {}, D.nodes[node] + [" accepted ", " learned ", " knows that it is decided: #"][is] + text);
}

function drawHeads() {
  const svg = $("heads");
  svg.replaceChildren();
  svg.style.width = view.width + "px";
  for (const [node, x] of view.x) {
    const group = add(svg, "g", { cursor: "pointer" });
    add(group, "rect", { class: state.lane === node ? "box on" : "box", x: x - 29, y: 3, width: 58, height: 31, rx: 4 });
    add(group, "text", { class: "big", x, y: 18, "text-anchor": "middle" }, D.nodes[node]);
    add(group, "text", { class: "muted", x, y: 30, "text-anchor": "middle" }, D.roles[node]);
    group.addEventListener("click", () => { state.lane = state.lane === node ? null : node; refresh(); });
  }
}

/** The whole run, upright: who leads, where something is said, and what is on the screen. */
function drawMap() {
  const svg = $("map"), height = svg.clientHeight || 600;
  svg.replaceChildren();
  const at = y => y / view.bottom * height;
  const proposers = D.nodes.map((_, n) => n).filter(n => D.nodes[n][0] === "P"), wide = 44 / Math.max(1, proposers.length);
  for (const [node, from, until, is, ballot] of D.bands) {
    const place = proposers.indexOf(node);
    if (place < 0 || is > LEADS && is !== DEAD) continue;
    const a = at(from ? yAt(from) : 0), z = at(until < 0 ? view.bottom : yAt(until));
    add(svg, "rect", { class: is === DEAD ? "gap" : is === LEADS ? "f" + colour(ballot) : "campaign f" + colour(ballot),
      x: f1(6 + place * wide), y: f1(a), width: f1(Math.max(2, wide - 2)), height: f1(Math.max(1.5, z - a)) });
  }
  for (const [t, , , topic] of D.story) if (topic === 1 || topic === 3)
    add(svg, "path", { class: "rule", d: `M2 ${f1(at(yAt(t)))}h50` });
  const box = $("view");
  add(svg, "rect", { class: "seen", x: 1, y: f1(at(box.scrollTop)), width: 53, height: f1(Math.max(6, at(box.clientHeight))) });
  add(svg, "path", { class: "cursor", d: `M0 ${f1(at(yAt(state.now)))}h56` });
}

// ------------------------------------------------------------------ the panel

/** Who leads, as the judge sees it: the highest ballot that leads at a moment. */
function leaderAt(t) {
  let found = null;
  for (const [node, from, until, is, ballot] of D.bands)
    if (is === LEADS && from <= t && (until < 0 || t < until) && (!found || ballot > found.ballot)) found = { node, ballot };
  return found;
}
function chosenAt(t) {
  let count = 0;
  for (const [time, first, last] of D.chosen) if (time <= t) count += last - first + 1;
  return count;
}

/** What a process believes, in words, and in what that is outdated. */
function believed(node, t, truth, chosen) {
  const dead = D.bands.find(([n, from, until, is]) => n === node && is === DEAD && from <= t && (until < 0 || t < until));
  if (dead) return { text: dead[1] === 0 ? "has not started" : "is dead", stale: "", news: dead[1] === t, away: true };
  const found = lastBefore(beliefs[node], t);
  if (!found) return { text: "knows nothing yet", stale: "", news: false };
  const [time, b] = found, name = at => at < 0 ? "nobody" : D.ballots[at];
  const outdated = ballot => truth && ballot !== truth.ballot ? `outdated: ${D.nodes[truth.node]} leads ${name(truth.ballot)}` : "";
  const behind = count => count < chosen ? `${chosen - count} more are chosen` : "";
  const held = (below, count) => count === 0 ? "knows nothing decided"
    : `knows ${count} decided, ${count === below - 1 ? "without a hole" : `all below ${below}`}`;
  let text, stale = "";
  switch (D.nodes[node][0]) {
    case "P": {
      const office = ["leads", "campaigns with", "follows", "abstains; followed"][b[0]];
      text = `${b[1] < 0 && b[0] > 1 ? "follows nobody" : office + " " + name(b[1])}; ${held(b[2], b[3])}`;
      stale = b[0] === 0 || b[0] === 2 && b[1] >= 0 ? outdated(b[1]) : "";
      stale = stale || behind(b[3]);
      break;
    }
    case "A": text = b[0] < 0 ? "has promised nothing" : "has promised " + name(b[0]); break;
    case "L": text = (b[0] ? "leads the learners; " : "") + held(b[1], b[2]); stale = behind(b[2]); break;
    default: text = `${b[0] < 0 ? "knows no leader" : "takes " + name(b[0]) + " for the leader"}; asked ${b[1]}, knows ${b[2]} decided` + (b[3] ? `, ${b[3]} lost` : "");
      stale = b[0] >= 0 ? outdated(b[0]) : "";
  }
  return { text, stale, news: time === t };
}

function panelBeliefs(panel) {
  const t = state.now, truth = leaderAt(t), chosen = chosenAt(t);
  const table = html(panel, "table", {});
  for (const node of view.nodes) {
    const row = html(table, "tr", {}), belief = believed(node, t, truth, chosen);
    html(row, "th", { scope: "row" }, D.nodes[node]);
    const cell = html(row, "td", { class: belief.news ? "news" : "" });
    html(cell, "span", { class: belief.stale ? "stale" : "" }, belief.text);
    if (belief.stale) html(cell, "div", { class: "small" }, belief.stale);
    if (votes[node].length) {
      const last = votes[node].filter(chip => chip[0] <= t).slice(-5);
      if (last.length) html(cell, "div", { class: "small" }, "accepted " + last.map(c => `${spansText(c[4])} in ${D.ballots[c[3]]}`).join(", "));
    }
    if (truth && truth.node !== node && !belief.away) {
      let at = -1;
      const upTo = lastBefore(reads[node], t);
      at = upTo ? reads[node].lastIndexOf(upTo) : -1;
      while (at >= 0 && reads[node][at][1].from !== truth.node) at--;
      html(cell, "div", { class: "small" }, at < 0 ? "has heard nothing of the leader" : `heard the leader ${length(t - reads[node][at][0])} ago`);
    }
  }
  const row = html(table, "tr", {});
  html(row, "th", { scope: "row" }, "Truth");
  const leads = truth ? `${D.nodes[truth.node]} leads with ${D.ballots[truth.ballot]}` : "nobody leads";
  html(row, "td", {}, `${leads}; ${chosen} chosen`);
}

/** Entries around the cursor, as a list whose entries can be clicked. */
function listed(panel, entries, here) {
  const from = Math.max(0, here - 80), list = html(panel, "ul", { role: "listbox", tabindex: 0, "aria-label": "events" });
  if (from) html(list, "li", { class: "small" }, `${from} before`);
  entries.slice(from, here + 120).forEach((entry, n) => {
    const item = html(list, "li", { role: "option", id: "entry" + (from + n), "aria-selected": from + n === here }, entry.text);
    item.addEventListener("click", entry.go);
  });
  if (here + 120 < entries.length) html(list, "li", { class: "small" }, `${entries.length - here - 120} after`);
  list.setAttribute("aria-activedescendant", "entry" + here);
  const current = list.querySelector("[aria-selected=true]");
  if (current) current.scrollIntoView({ block: "nearest" });
}

function panelLog(panel) {
  const entries = view.fans.map(fan => ({ t: fan.t, text: `${ms(fan.t)}  ${sentence(fan)}`, go: () => select(fan.n) }));
  let here = entries.findIndex(entry => entry.t > state.now);
  here = here < 0 ? entries.length - 1 : Math.max(0, here - 1);
  listed(panel, entries, here);
}

function panelStory(panel) {
  const entries = D.story.map(([t, , text], n) => ({ t, text: `${n + 1}. ${ms(t)}: ${text}`, go: () => goTo(t) }));
  let here = entries.findIndex(entry => entry.t > state.now);
  here = here < 0 ? entries.length - 1 : Math.max(0, here - 1);
  listed(panel, entries, here);
}

function panelTable(panel) {
  const rows = D.chosen.filter(([, first, last]) => wants([[first, last]]));
  let from = Math.max(0, rows.findIndex(row => row[0] > state.now) - 30);
  if (rows.length && rows[rows.length - 1][0] <= state.now) from = Math.max(0, rows.length - 60);
  const table = html(panel, "table", {}), top = html(table, "tr", {});
  for (const name of ["instances", "chosen", "in", "by", "learned"]) html(top, "th", { scope: "col" }, name);
  for (const [t, first, last, ballot, by] of rows.slice(from, from + 120)) {
    const row = html(table, "tr", { class: t === state.now ? "news" : "" });
    html(row, "td", {}, spansText([[first, last]]));
    const cell = html(row, "td", {}), go = html(cell, "button", {}, ms(t));
    go.addEventListener("click", () => goTo(t));
    html(row, "td", {}, D.ballots[ballot]);
    html(row, "td", {}, by);
    const learned = D.chips.find(c => c[2] === LEARNED && D.nodes[c[1]][0] === "L" && c[4].some(([a, b]) => a <= first && first <= b));
    html(row, "td", {}, learned ? "+" + length(learned[0] - t) : "never");
  }
}

const fateWord = (c, sent) => c.fate === READ ? `${D.nodes[c.to]} read it after ${length(c.t - sent)}` : `${D.nodes[c.to]}: ${D.fates[c.fate]}`;
const sentence = m => `${D.nodes[m.from]}: ${m.label}` + (m.count ? ` ×${m.count}, until ${ms(m.until)}` : "");

function detail(m) {
  const box = $("detail");
  box.replaceChildren();
  html(box, "b", {}, `${D.nodes[m.from]} at ${ms(m.t)}: `);
  html(box, "span", {}, m.full);
  html(box, "div", { class: "small" }, (m.noise ? "a datagram of the past; " : "") + `${m.bytes} bytes. ` + m.copies.map(c => fateWord(c, m.t)).join("; ") + ".");
}

// ------------------------------------------------------------------ cause and effect

/** The messages that the selected one depends on, or that depend on it: by sends and lanes. */
function causal() {
  if (!state.causal || state.selected === null) return null;
  const m = messages[state.selected], limit = new Map(), found = new Set([m.n]), past = state.causal === "past";
  const pairs = [];
  for (const one of messages) for (const c of one.copies) if (c.fate === READ) pairs.push([one, c]);
  pairs.sort((a, b) => past ? b[1].t - a[1].t : a[0].t - b[0].t);
  const reach = (node, t) => limit.set(node, !limit.has(node) ? t : past ? Math.max(limit.get(node), t) : Math.min(limit.get(node), t));
  if (past) reach(m.from, m.t); else for (const c of m.copies) if (c.fate === READ) reach(c.to, c.t);
  for (const [one, c] of pairs) {
    if (past && limit.has(c.to) && c.t <= limit.get(c.to)) { found.add(one.n); reach(one.from, one.t); }
    if (!past && limit.has(one.from) && one.t >= limit.get(one.from)) { found.add(one.n); reach(c.to, c.t); }
  }
  return found;
}

// ------------------------------------------------------------------ moving about

function place() { // of the cursor among the steps: the last that is not after now
  let low = 0, high = view.steps.length;
  while (low < high) { const middle = (low + high) >> 1; if (view.steps[middle].t <= state.now) low = middle + 1; else high = middle; }
  return low - 1;
}
function goTo(t, keepScroll) {
  state.now = t;
  const box = $("view"), y = yAt(t);
  if (!keepScroll && (y < box.scrollTop + 90 || y > box.scrollTop + box.clientHeight - 90)) box.scrollTop = Math.max(0, y - box.clientHeight * 0.4);
  refresh();
}
function stepBy(direction) {
  const times = view.steps.filter(step => state.stepLane === undefined || step.node === state.stepLane).map(step => step.t);
  let next = direction > 0 ? times.find(t => t > state.now) : undefined;
  if (direction < 0) for (const t of times) if (t < state.now) next = t; else break;
  if (next === undefined) return false;
  goTo(next);
  return true;
}
function storyBy(direction) {
  const times = D.story.map(s => s[0]);
  const next = direction > 0 ? times.find(t => t > state.now) : times.filter(t => t < state.now).pop();
  if (next !== undefined) goTo(next);
}
function select(n) {
  const m = messages[n];
  if (state.selected === n) { // the other end
    const read = m.copies.find(c => c.fate === READ);
    goTo(state.now === m.t && read ? read.t : m.t);
  } else { state.selected = n; goTo(m.t); }
  detail(m);
}
let playing = 0;
function play() {
  clearTimeout(playing);
  const on = $("play").getAttribute("aria-pressed") !== "true";
  $("play").setAttribute("aria-pressed", on);
  const tick = () => { if ($("play").getAttribute("aria-pressed") === "true" && stepBy(1)) playing = setTimeout(tick, state.speed); else $("play").setAttribute("aria-pressed", false); };
  if (on) tick();
}

function said() {
  const count = view.fans.reduce((sum, fan) => sum + (fan.count || 1), 0);
  const kinds = Object.keys(kindCounts), shown = kinds.filter(kind => !state.hide.has(kind));
  let text = `${count} of ${messages.length} messages`;
  if (state.instances) text += `, of instance ${spansText([state.instances])}`;
  if (state.lost) text += ", lost ones only";
  if (state.text) text += `, with “${state.text}”`;
  text += state.hide.size === 2 && state.hide.has("Heartbeat") && state.hide.has("Echo") ? ". Heartbeats and echoes are hidden."
    : shown.length === kinds.length ? "." : `: ${shown.join(", ")}.`;
  if (D.cut) text += " The run was longer: the record was cut short.";
  $("said").textContent = text;
}

function refresh() {
  draw();
  drawMap();
  said();
  $("now").textContent = `${ms(state.now)}  ${place() + 1}/${view.steps.length}`;
  const panel = $("panel");
  panel.replaceChildren();
  ({ beliefs: panelBeliefs, log: panelLog, story: panelStory, table: panelTable })[state.tab](panel);
  for (const tab of $("tabs").children) tab.setAttribute("aria-selected", tab.dataset.tab === state.tab);
}
function filter() {
  layOut();
  goTo(state.now);
}

// ------------------------------------------------------------------ links, keys, controls

function link() {
  const parts = [`t=${state.now}`], hidden = [...state.hide];
  if (hidden.join() !== [...BACKGROUND].join()) parts.push("hide=" + hidden.join(","));
  if (state.instances) parts.push("i=" + state.instances.join("-"));
  if (state.lane !== null) parts.push("lane=" + D.nodes[state.lane]);
  if (state.text) parts.push("text=" + encodeURIComponent(state.text));
  if (state.lost) parts.push("lost=1");
  return "#" + parts.join("&");
}
function readInstances(text) {
  const found = /^\s*(\d+)(?:\s*(?:-|–|\.\.)\s*(\d+))?\s*$/.exec(text);
  state.instances = found ? [+found[1], +(found[2] || found[1])] : null;
}
function readLink() {
  for (const part of location.hash.slice(1).split("&")) {
    const [key, value = ""] = part.split("=");
    if (key === "t") state.now = +value || 0;
    if (key === "hide") state.hide = new Set(value.split(",").filter(Boolean));
    if (key === "i") { readInstances(value); $("instances").value = value; }
    if (key === "lane") state.lane = D.nodes.indexOf(value) < 0 ? null : D.nodes.indexOf(value);
    if (key === "text") { state.text = decodeURIComponent(value).toLowerCase(); $("text").value = state.text; }
    if (key === "lost") state.lost = $("lost").checked = true;
  }
}
function clearOne() {
  if (state.causal) state.causal = null;
  else if (state.selected !== null) { state.selected = null; $("detail").replaceChildren(); }
  else if (state.lane !== null) state.lane = null;
  else if (state.text) { state.text = $("text").value = ""; layOut(); }
  else if (state.instances) { state.instances = null; $("instances").value = ""; layOut(); }
  else if (state.lost) { state.lost = $("lost").checked = false; layOut(); }
  refresh();
}
function zoomBy(by) {
  state.zoom = Math.max(-8, Math.min(3, state.zoom + by));
  $("zoom").value = state.zoom;
  layOut();
  $("view").scrollTop = yAt(state.now) - $("view").clientHeight * 0.4;
  refresh();
}
const opened = id => { $(id).open = !$(id).open; $(id).querySelector("summary").focus(); };
const keys = {
  ArrowRight: () => stepBy(1), ArrowLeft: () => stepBy(-1), PageDown: () => storyBy(1), ".": () => storyBy(1), PageUp: () => storyBy(-1),
  Home: () => goTo(view.steps.length ? view.steps[0].t : 0), End: () => goTo(D.end), " ": play,
  "+": () => { state.speed = Math.max(60, state.speed / 1.5); }, "-": () => { state.speed *= 1.5; },
  "]": () => { state.stepLane = state.lane ?? undefined; stepBy(1); state.stepLane = undefined; },
  "[": () => { state.stepLane = state.lane ?? undefined; stepBy(-1); state.stepLane = undefined; },
  z: () => zoomBy(0.5), Z: () => zoomBy(-0.5), f: () => opened("kinds"), l: () => opened("lanes"), i: () => $("instances").focus(),
  t: () => $("text").focus(), c: () => { state.causal = "past"; refresh(); }, C: () => { state.causal = "future"; refresh(); },
  o: () => zoomBy(state.zoom > -8 ? -99 : 8), p: () => print(), "?": () => $("help").showModal(), Escape: clearOne,
  y: () => { history.replaceState(null, "", link()); navigator.clipboard?.writeText(location.href).catch(() => {}); },
  d: () => { document.documentElement.classList.toggle("dark"); },
};
document.addEventListener("keydown", event => {
  const typing = event.target.tagName === "INPUT" && event.target.type !== "checkbox" && event.target.type !== "range";
  if (typing && event.key !== "Escape" || event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.target.tagName === "BUTTON" && event.key === " ") return;
  const act = keys[event.key];
  if (act) { event.preventDefault(); if (typing) event.target.blur(); act(); }
});
function controls() {
  for (const button of document.querySelectorAll("[data-key]")) button.addEventListener("click", () => keys[button.dataset.key]());
  for (const tab of $("tabs").children) tab.addEventListener("click", () => { state.tab = tab.dataset.tab; refresh(); });
  const check = (list, name, on, change) => {
    const label = html(list, "label", {}), box = html(label, "input", { type: "checkbox" });
    box.checked = on;
    label.append(" " + name);
    box.addEventListener("change", () => { change(box.checked); filter(); });
  };
  for (const kind of D.kinds) if (kindCounts[kind])
    check($("kindlist"), `${kind} (${kindCounts[kind]})`, !state.hide.has(kind), on => { if (on) state.hide.delete(kind); else state.hide.add(kind); });
  D.nodes.forEach((name, node) => check($("lanelist"), name, true, on => {
    state.lanes = state.lanes || new Set(D.nodes.map((_, n) => n));
    if (on) state.lanes.add(node); else state.lanes.delete(node);
    if (state.lanes.size === D.nodes.length) state.lanes = null;
  }));
  $("instances").addEventListener("input", () => { readInstances($("instances").value); filter(); });
  $("text").addEventListener("input", () => { state.text = $("text").value.toLowerCase(); filter(); });
  $("lost").addEventListener("change", () => { state.lost = $("lost").checked; filter(); });
  $("zoom").addEventListener("input", () => zoomBy(+$("zoom").value - state.zoom));
  $("copy").addEventListener("click", () => navigator.clipboard?.writeText($("command").textContent).catch(() => {}));
  let due = false;
  $("view").addEventListener("scroll", () => {
    if (!due) requestAnimationFrame(() => { due = false; draw(); drawMap(); });
    due = true;
  });
  $("view").addEventListener("wheel", event => { if (event.ctrlKey) { event.preventDefault(); zoomBy(event.deltaY > 0 ? -0.5 : 0.5); } }, { passive: false });
  $("map").addEventListener("click", event => {
    $("view").scrollTop = event.offsetY / $("map").clientHeight * view.bottom - $("view").clientHeight / 2;
  });
  addEventListener("resize", refresh);
  addEventListener("hashchange", () => { readLink(); filter(); });
}

// ------------------------------------------------------------------ self-test

/** Lays out, steps, filters, and compares with what Rust says; the title tells how it went. */
function selfTest() {
  const wrong = [];
  const expect = (holds, what) => { if (!holds) wrong.push(what); };
  const [count] = D.check.pop();
  expect(view.ticks.length === count, `${view.ticks.length} ticks, not ${count}`);
  for (const [t, y] of D.check) if (Math.abs((view.y.get(t) ?? -1) - (y / 10 - D.offset)) > 0.2) { expect(false, `y of ${t}: ${view.y.get(t)}`); break; }
  keys.Home();
  let steps = 0;
  while (steps < 300 && stepBy(1)) steps++;
  keys.End();
  expect(state.now === D.end, "the end");
  for (const node of view.nodes) {
    const last = beliefs[node][beliefs[node].length - 1];
    expect(!last || lastBefore(beliefs[node], state.now) === last, "beliefs of " + D.nodes[node]);
  }
  while (steps-- > 0 && stepBy(-1));
  for (const tab of ["log", "story", "table", "beliefs"]) { state.tab = tab; refresh(); expect($("panel").childNodes.length > 0, tab); }
  const all = view.fans.length;
  for (const kind of D.kinds) { state.hide = new Set([...BACKGROUND, kind]); filter(); expect(view.fans.length <= all && !view.fans.some(f => f.kind === kind), kind); }
  state.hide = new Set(BACKGROUND);
  state.instances = [1, 1]; filter(); state.instances = null;
  state.lost = true; filter(); expect(view.fans.every(f => f.copies.length), "lost"); state.lost = false;
  filter();
  for (const fan of view.fans.slice(0, 50)) { state.selected = fan.n; state.causal = "past"; expect(causal().has(fan.n), "past"); state.causal = "future"; causal(); }
  state.selected = state.causal = null;
  zoomBy(-99); zoomBy(8);
  state.zoom = 0; layOut(); refresh();
  expect(!document.querySelector("svg [x='NaN'], svg [y='NaN'], svg [d*='NaN']"), "a number");
  document.title = wrong.length ? "selftest: " + wrong.join("; ") : "selftest ok";
}

if (matchMedia("(prefers-color-scheme:dark)").matches) document.documentElement.classList.add("dark");
$("desc").textContent = D.story.map(([t, , text], n) => `${n + 1}. ${ms(t)}: ${text}`).join(" ");
readLink();
controls();
layOut();
if (!location.hash.includes("t=")) state.now = view.steps.length ? view.steps[0].t : 0;
goTo(state.now);
if (location.hash === "#selftest") selfTest();
