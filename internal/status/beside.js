// Round robin and least connections side by side: how long requests took since
// this viewer's zero, or in the latest comparison.
import { $, children, make, makeSVG, setAttr, setText } from "./elements.js";
import { at, names, partName, seconds, whole } from "./text.js";

const high = 60; // of a histogram
const fewest = 10; // bars that it has

// The bounds of the bars: ten to each power of ten, as the broker has them for
// runs. So all bars are as wide on a logarithmic scale.
const bounds = [-4, -3, -2, -1, 0, 1, 2, 3].flatMap((power) =>
  [100, 125, 160, 200, 250, 320, 400, 500, 640, 800].map((step) => Number((step + "e" + (power - 2)))));

let latest = null;
let zero = null;  // the figures that this viewer subtracts: null for none
let result = null; // of a comparison, which is shown instead
let done = 0;     // the latest comparison that the viewer has put away
const flights = new Map(); // requests in flight of an approach at a worker, as the stream tells it
let most = {};             // of them at once at one worker, by approach
let exact = {};            // the longest times in seconds, by approach, as far as they are known
let crowded = false;       // some requests were not followed, so nobody knows the most
const where = new Map();   // the worker of each request

$("afresh").addEventListener("click", () => afresh());

// afresh takes the figures from as the zero: the latest, or some from before.
function afresh(from = latest) {
  if (!from) return;
  zero = from;
  if (result) done = result.id;
  result = null;
  most = {};
  exact = {};
  crowded = [...where.values()].some(({ n }) => n > 1);
  for (const [key, n] of flights) note(key.split(" ")[0], n);
  show(latest, false);
}

// prepare returns what is to be called when a run that is now ordered has begun.
// Single ones add up, so that two of them can be compared, but a comparison stands
// alone.
export function prepare(compare) {
  const from = latest, shown = result?.id; // its first figures may come before the answer to the order
  return () => { if ((compare || shown) && result?.id === shown) afresh(from); };
}

// showResult shows the result of a comparison, or of its parts so far, until afresh.
export function showResult(report) {
  if (report.id === done) return;
  result = report;
  show(latest, false);
}

// ---- in flight at one worker, from the events

export function see(e) {
  if (["hello", "lost", "closed"].includes(e.event)) { flights.clear(); where.clear(); }
  if (e.event === "crowded") crowded = true;
  if (e.event === "assigned") { leave(e.id); enter(e); }
  if (["queued", "answered", "failed", "left"].includes(e.event)) leave(e.id);
}

function enter(e) {
  if (e.n > 1) crowded = true; // the others may have been elsewhere
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

// A part has a name, counts by type as a map from an upper bound to how many took
// that long, and the figures.

function fromStatus(s, approach) {
  const part = { name: names[approach], types: {}, most: crowded ? undefined : most[approach] };
  const all = new Map();
  s.durations.forEach((h, i) => {
    if (h.approach !== approach) return;
    const counts = single(h);
    if (zero) for (const [le, n] of single(zero.durations[i])) counts.set(le, (counts.get(le) || 0) - n);
    part.types[h.type] = counts;
    for (const [le, n] of counts) all.set(le, (all.get(le) || 0) + n);
  });
  const sorted = [...all].filter(([, n]) => n > 0).sort((a, b) => a[0] - b[0]);
  return Object.assign(part, figures(sorted, longest(s, approach, sorted)));
}

// single turns buckets, which are cumulative, into counts of their own.
function single({ buckets, count }) {
  const counts = new Map();
  let before = 0;
  for (const b of buckets) {
    counts.set(b.le, b.count - before);
    before = b.count;
  }
  if (count > before) counts.set(Infinity, count - before);
  return counts;
}

const lower = 0.954, middle = 0.977; // of a bucket's upper bound are its lower one, at least, and its middle

// longest returns the longest time exactly if it has been the longest of a last
// minute, and undefined if it has not. It is the one that lies in the last bucket.
function longest(s, approach, sorted) {
  const le = sorted.length > 0 ? sorted.at(-1)[0] : 0;
  const { max_seconds } = s.last_minute.latency.find((l) => l.approach === approach && !l.type);
  const known = [exact[approach], max_seconds].filter((took) => took > lower * le && took <= le);
  return exact[approach] = known.length > 0 ? Math.max(...known) : undefined;
}

// figures takes the last bucket's times as the longest one, if that is known, and
// those of each other bucket as its middle.
function figures(sorted, longest) {
  const answered = sorted.reduce((sum, [, n]) => sum + n, 0);
  const percentile = (p) => {
    let rest = Math.ceil(p * answered);
    for (const [le, n] of sorted) if ((rest -= n) <= 0) return le === sorted.at(-1)[0] && longest || middle * le;
    return 0;
  };
  return { answered, p50: percentile(0.5), p95: percentile(0.95), p99: percentile(0.99), worst: percentile(1) };
}

function fromResult(r) {
  return {
    name: partName(r.name), answered: r.answered, failed: r.failed, types: { "": new Map(r.histogram.map((bar) => [bar.le, bar.count])) },
    p50: r.p50_seconds, p95: r.p95_seconds, p99: r.p99_seconds, worst: r.max_seconds, most: r.most_in_flight,
  };
}

// ---- showing

// show shows the latest figures. If fresh, a zero of another broker is no use.
export function show(s, fresh) {
  if (fresh) { zero = null; result = null; done = 0; exact = {}; }
  latest = s;
  const parts = result ? result.results.map(fromResult) : Object.keys(names).map((a) => fromStatus(s, a));
  setText($("beside-says"), says());
  $("afresh").disabled = Boolean(result && result.running); // its end is still to be shown
  for (const p of parts) for (const type in p.types) p.types[type] = heights(p.types[type]);
  const [first, last] = range(parts);
  const sums = parts.flatMap((p) => bounds.map((_, i) => Object.values(p.types).reduce((sum, h) => sum + h[i], 0)));
  const all = children($("beside"), parts.length, newSide);
  parts.forEach((p, i) => showSide(all[i], p, first, last, Math.max(1, ...sums)));
}

function says() {
  if (result) return result.sentence || "The comparison goes on. So far:";
  return zero ? `Since ${at(zero.time)}.` : "Since the broker’s start.";
}

// heights sorts counts into the bars.
function heights(counts) {
  const all = bounds.map(() => 0);
  for (const [le, n] of counts) {
    const took = le === Infinity ? 101 : middle * le; // the broker counts up to 100 s
    all[bounds.findIndex((bound) => took <= bound)] += n;
  }
  return all;
}

// range returns the first bar and the last one that are shown: those that any part
// has, and as many more that there are a few.
function range(parts) {
  const has = (i) => parts.some((p) => Object.values(p.types).some((h) => h[i] > 0));
  const used = bounds.map((_, i) => i).filter(has);
  if (used.length === 0) return [31, 40];
  let first = used[0], last = used[used.length - 1];
  for (let up = true; last - first + 1 < fewest || (last - first) % 2 === 0; up = !up) { // an even number has a middle
    if ((up && last + 1 < bounds.length) || first === 0) last++; else first--;
  }
  return [first, last];
}

function newSide() {
  const side = make("div", "side"), svg = makeSVG("svg", { preserveAspectRatio: "none", "aria-hidden": "true", class: "bars" });
  // Short stands on Long: it is drawn as the sum of both, behind.
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

function showSide(side, p, first, last, top) {
  setText(side.querySelector("h3"), p.name);
  setText(side.querySelector(".how-many"), whole(p.answered) + " answered" + (p.failed > 0 ? ", " + whole(p.failed) + " failed" : ""));
  setAttr(side.querySelector(".bars"), "viewBox", `0 0 ${last - first + 1} ${high}`);
  const { Long, Short, "": both } = p.types;
  const draw = (path, counts) => setAttr(side.querySelector(path), "d", counts ? outline(counts.slice(first, last + 1), top) : "");
  draw(".long", Long);
  draw(".short", Short && Short.map((n, i) => n > 0 ? n + Long[i] : 0));
  draw(".both", both);
  [bounds[first - 1] || 0, bounds[(first + last - 1) / 2], bounds[last]].map(seconds).forEach((text, i) => setText(side.querySelectorAll(".axis span")[i], text));
  const took = (s) => p.answered === 0 ? "–" : s === Infinity ? "> 100 s" : seconds(s);
  [took(p.p50), took(p.p95), took(p.p99), took(p.worst), p.most === undefined ? "–" : whole(p.most)]
    .forEach((text, i) => setText(side.querySelectorAll("dd")[i], text));
}

function outline(counts, top) {
  return counts.map((n, i) => n > 0 ? `M${i + 0.08} ${high}V${(high - Math.max(2, (high - 1) * n / top)).toFixed(1)}H${i + 0.92}V${high}Z` : "").join("");
}
