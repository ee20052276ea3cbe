// Round robin and least connections side by side: how long requests took since
// this viewer's zero, or in the latest comparison.
import { $, children, make, makeSVG, setAttr, setText } from "./elements.js";
import { at, names, seconds, whole } from "./text.js";

const bars = 24; // of a histogram
const high = 60; // its height

let latest = null;
let zero = null;  // the figures that this viewer subtracts: null for none
let result = null; // of a comparison, which is shown instead
const flights = new Map(); // requests in flight of an approach at a worker, as the stream tells it
let most = {};             // of them at once at one worker, by approach
const where = new Map();   // the worker of each request

$("afresh").addEventListener("click", () => afresh());

// afresh takes this moment as the zero.
export function afresh() {
  if (!latest) return;
  zero = latest;
  result = null;
  most = {};
  for (const [key, n] of flights) note(key.split(" ")[0], n);
  show(latest, false);
}

// showResult shows the result of a comparison until afresh.
export function showResult(report) {
  result = report;
  show(latest, false);
}

// ---- in flight at one worker, from the events

export function see(e) {
  if (["hello", "lost", "closed"].includes(e.event)) { flights.clear(); where.clear(); }
  if (e.event === "assigned") { leave(e.id); enter(e); }
  if (["queued", "answered", "failed", "left"].includes(e.event)) leave(e.id);
}

function enter(e) {
  const key = e.approach + " " + e.worker;
  where.set(e.id, { key, n: e.n });
  flights.set(key, (flights.get(key) || 0) + e.n);
  note(e.approach, flights.get(key));
}

function leave(id) {
  const was = where.get(id);
  if (!was) return;
  where.delete(id);
  flights.set(was.key, flights.get(was.key) - was.n);
}

function note(approach, n) { most[approach] = Math.max(most[approach] || 0, n); }

// ---- figures

// A part has a name, counts by type as a map from a bound to how many took up to
// it and longer than the bound before, and the figures.

function fromStatus(s, approach) {
  const part = { name: names[approach], types: {}, most: most[approach] };
  const all = new Map();
  s.durations.forEach((h, i) => {
    if (h.approach !== approach) return;
    const counts = single(h.buckets, h.count);
    for (const [le, n] of zero ? single(zero.durations[i].buckets, zero.durations[i].count) : []) counts.set(le, (counts.get(le) || 0) - n);
    part.types[h.type] = counts;
    for (const [le, n] of counts) all.set(le, (all.get(le) || 0) + n);
  });
  return Object.assign(part, figures(all));
}

// single turns buckets, which are cumulative, into counts of their own.
function single(buckets, count) {
  const counts = new Map();
  let before = 0;
  for (const b of buckets) {
    counts.set(b.le, b.count - before);
    before = b.count;
  }
  if (count > before) counts.set(Infinity, count - before);
  return counts;
}

const bound = 0.977; // of a bucket's upper bound is its middle: bounds are 4.7 % apart

function figures(counts) {
  const sorted = [...counts].filter(([, n]) => n > 0).sort((a, b) => a[0] - b[0]);
  const answered = sorted.reduce((sum, [, n]) => sum + n, 0);
  const percentile = (p) => {
    let rest = Math.ceil(p * answered);
    for (const [le, n] of sorted) if ((rest -= n) <= 0) return bound * le;
    return 0;
  };
  return { answered, p50: percentile(0.5), p95: percentile(0.95), p99: percentile(0.99), worst: percentile(1) };
}

function fromResult(r) {
  return {
    name: names[r.name] || r.name, answered: r.answered, failed: r.failed, types: { "": single(r.histogram, r.answered) },
    p50: r.p50_seconds, p95: r.p95_seconds, p99: r.p99_seconds, worst: r.max_seconds, most: r.most_in_flight,
  };
}

// ---- showing

// show shows the latest figures. If fresh, a zero of another broker is no use.
export function show(s, fresh) {
  if (fresh) { zero = null; result = null; }
  latest = s;
  const parts = result ? result.results.map(fromResult) : Object.keys(names).map((a) => fromStatus(s, a));
  setText($("beside-says"), result ? result.sentence || "The result of the comparison." : zero ? `Since ${at(zero.time)}.` : "Since the broker’s start.");
  const widest = Math.max(...parts.map((p) => p.worst)), scale = round(widest);
  const filled = parts.map((p) => heights(p.types, scale));
  const top = Math.max(1, ...filled.flatMap((f) => f.sums));
  const all = children($("beside"), parts.length, newSide);
  parts.forEach((p, i) => showSide(all[i], p, filled[i], scale, top));
}

// round returns the end of a scale: 1, 2 or 5 of something, not below x.
function round(x) {
  if (!(x > 0) || x === Infinity) return x > 0 ? 100 : 1;
  const ten = 10 ** Math.floor(Math.log10(x));
  return [1, 2, 5, 10].map((f) => f * ten).find((end) => end >= x);
}

// heights sorts counts into the bars of a histogram, one type above the other.
function heights(types, scale) {
  const sums = Array(bars).fill(0), tops = {};
  for (const type in types) {
    for (const [le, n] of types[type]) sums[Math.min(bars - 1, Math.floor(bars * bound * Math.min(le, 1e9) / scale))] += n;
    tops[type] = [...sums];
  }
  return { sums, tops };
}

function newSide() {
  const side = make("div", "side"), svg = makeSVG("svg", { viewBox: `0 0 ${bars} ${high}`, preserveAspectRatio: "none", "aria-hidden": "true", class: "bars" });
  // What is drawn first is behind: the sum of both types, and Long in front.
  svg.append(makeSVG("path", { class: "short" }), makeSVG("path", { class: "long" }), makeSVG("path", { class: "both" }));
  const axis = make("p", "axis"), list = make("dl");
  axis.setAttribute("aria-hidden", "true");
  axis.append(make("span"), make("span"), make("span"));
  for (const term of ["p50", "p95", "p99", "Worst", "Most in flight at one worker"]) {
    const group = make("div");
    group.append(make("dt", "", term), make("dd"));
    list.append(group);
  }
  side.append(make("h3"), make("p", "how-many"), svg, axis, list);
  return side;
}

function showSide(side, p, filled, scale, top) {
  setText(side.querySelector("h3"), p.name);
  setText(side.querySelector(".how-many"), whole(p.answered) + " answered" + (p.failed > 0 ? ", " + whole(p.failed) + " failed" : ""));
  const paths = { Long: ".long", Short: ".short", "": ".both" };
  for (const type in paths) setAttr(side.querySelector(paths[type]), "d", outline(filled.tops[type], top));
  ["0", seconds(scale / 2), seconds(scale)].forEach((text, i) => setText(side.querySelectorAll(".axis span")[i], text));
  const took = (s) => p.answered === 0 ? "–" : s === Infinity ? "> 100 s" : seconds(s);
  [took(p.p50), took(p.p95), took(p.p99), took(p.worst), p.most === undefined ? "–" : whole(p.most)]
    .forEach((text, i) => setText(side.querySelectorAll("dd")[i], text));
}

function outline(counts, top) {
  if (!counts) return "";
  return counts.map((n, i) => n > 0 ? `M${i + 0.08} ${high}V${(high - Math.max(2, (high - 1) * n / top)).toFixed(1)}H${i + 0.92}V${high}Z` : "").join("");
}
