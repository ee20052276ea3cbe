// The figures of /status.json, as tables and plots.
import { $, children, make, makeButton, makeCell, makeRow, makeSVG, setAttr, setCut, setPart, setText, steps } from "./elements.js";
import { at, long, names, percent, rate, seconds, whole } from "./text.js";
import { ordersFor } from "./orders.js";

const rows = 15; // of the latest requests; /status.json has more
const crowd = 12; // more workers than that are shown as a compact grid

// With a crowd, the tables have only the workers that were chosen in the grid.
const chosen = new Set();
let everyone = false;
let latest = null; // the latest figures

const many = (s) => s.workers.length > crowd;
const listed = (s) => s.workers.map((w, i) => i).filter((i) => !many(s) || everyone || chosen.has(s.workers[i].name));

$("show-all").addEventListener("click", () => {
  everyone = !everyone;
  setAttr($("show-all"), "aria-pressed", everyone);
  showTables(latest);
});

// show shows everything. If fresh, nothing that is shown is of this broker.
export function show(s, fresh) {
  latest = s;
  showWay(s);
  showTables(s);
  showFigures(s);
  showLatest(s, fresh);
}

function showTables(s) {
  const indices = listed(s);
  $("show-all").hidden = !many(s);
  setText($("show-all"), `Show all ${s.workers.length}`);
  $("choose").hidden = indices.length > 0;
  $("workers").hidden = $("spread").hidden = indices.length === 0;
  showWorkers(s, indices);
  showSpread(s, indices);
}

// ---- the way of a request

function showWay(s) {
  setText($("clients"), whole(s.clients));
  setText($("way-rate"), rate(s.last_minute.rate));
  setText($("queue-now"), whole(s.queue.waiting));
  const list = $("stops");
  if (document.body.classList.toggle("many", many(s)) !== ("many" in list.dataset)) {
    list.replaceChildren();
    list.toggleAttribute("data-many", many(s));
  }
  const stops = children(list, s.workers.length, many(s) ? newCell : newStop);
  s.workers.forEach((w, i) => showStop(stops[i], w));
}

function newStop() {
  const li = make("li"), mark = make("span", "dot"), of = make("span", "of");
  mark.setAttribute("aria-hidden", "true");
  of.append(make("span", "long"), " ", make("span", "short"));
  const who = make("span", "who");
  who.append(make("b", "name"), make("small", "why"));
  li.append(make("span", "place"), mark, who, of, make("b", "n"));
  return li;
}

// newCell is a stop in the compact grid: a button that shows the details.
function newCell() {
  const li = make("li"), button = makeButton("pick"), mark = make("span", "dot");
  mark.setAttribute("aria-hidden", "true");
  const head = make("span", "head"), foot = make("span", "foot");
  head.append(mark, make("span", "name"));
  foot.append(make("small", "why"), " ", make("b", "n"), make("span", "place"));
  button.append(head, " ", foot);
  button.addEventListener("click", () => {
    const name = li.dataset.at;
    if (!chosen.delete(name)) chosen.add(name);
    setAttr(button, "aria-pressed", chosen.has(name));
    showTables(latest);
  });
  li.append(button);
  return li;
}

function showStop(li, w) {
  setAttr(li, "data-at", w.name);
  setAttr(li, "data-state", w.state);
  li.toggleAttribute("data-busy", w.in_flight > 0);
  setText(li.querySelector(".name"), w.name);
  setText(li.querySelector(".why"), w.state);
  setText(li.querySelector(".n"), whole(w.in_flight));
  const button = li.querySelector(".pick");
  if (button) { setAttr(button, "aria-pressed", chosen.has(w.name)); return; }
  const of = w.in_flight_of || {};
  setText(li.querySelector(".long"), w.in_flight_of ? "L\u00a0" + whole(of.Long || 0) : "");
  setText(li.querySelector(".short"), w.in_flight_of ? "S\u00a0" + whole(of.Short || 0) : "");
}

// ---- the table of workers

function showWorkers(s, indices) {
  const all = children($("workers").tBodies[0], indices.length, newWorker);
  // Of a worker without a limit the bar shows how much it has for its weight,
  // beside the one that has most.
  const top = Math.max(4, ...s.workers.flatMap((w) => [w.in_flight, ...w.in_flight_history].map((n) => n / w.weight)));
  const now = new Date(s.time);
  indices.forEach((i, j) => showWorker(all[j], s.workers[i], top, now));
  ordersFor(s, indices.map((i) => s.workers[i]), all);
}

// known says since when a worker's state is known, or how long it lasts.
function known(w, now) {
  if (w.cooling_seconds > 0) return "for another " + long(Math.ceil(w.cooling_seconds));
  if (w.state === "draining") return whole(w.in_flight) + " in flight";
  if (w.state === "due for a trial") return "the next request is its trial";
  if (w.last_answer) return "answered " + long(Math.max(0, (now - new Date(w.last_answer)) / 1000)) + " ago";
  return w.assigned > 0 ? "no answer yet" : "";
}

function newWorker() {
  const tr = makeRow();
  const name = makeCell("th"), state = makeCell("td", "state"), flight = makeCell("td", "cell-flight");
  name.append(make("b"), make("span", "addr"));
  const mark = make("span", "dot"), error = make("div", "error");
  mark.setAttribute("aria-hidden", "true");
  error.append(make("span"), " ", make("small"));
  state.append(mark, make("span", "word"), " ", make("small", "known"), error);
  const box = make("div", "flight"), bar = make("div", "bar");
  bar.append(make("i"));
  const plot = makeSVG("svg", { class: "plot", viewBox: "0 0 60 20", preserveAspectRatio: "none", "aria-hidden": "true" });
  plot.append(makeSVG("path", {}));
  box.append(make("span", "n"), bar, plot, make("small"));
  flight.append(box);
  tr.append(name, state, makeCell("td", "num weight", "Weight"), flight,
    makeCell("td", "num rr", "Round robin"), makeCell("td", "num lc", "Least conn."), makeCell("td", "num failed", "Failed"));
  tr.querySelector(".weight").append(make("span"));
  return tr;
}

function showWorker(tr, w, top, now) {
  const get = (selector) => tr.querySelector(selector);
  setAttr(tr, "data-worker", w.name);
  setAttr(tr, "data-state", w.state);
  setText(get("th b"), w.name);
  setText(get(".addr"), w.addr);
  setText(get(".word"), w.state);
  setText(get(".known"), known(w, now));
  setText(get(".weight span"), w.weight);
  setText(get(".flight .n"), whole(w.in_flight));
  const full = w.limit || top * w.weight;
  setPart(get(".bar i"), "width", w.in_flight / full);
  setAttr(get(".plot path"), "d", steps(w.in_flight_history, 60, 20, full));
  setText(get(".flight small"), "at most " + whole(w.most_in_flight) + " since the start" + (w.limit > 0 ? ", limit " + whole(w.limit) : ""));
  setText(get(".rr"), whole(w.answered.round_robin));
  setText(get(".lc"), whole(w.answered.least_connections));
  setText(get(".failed"), whole(w.failed));
  const e = w.latest_error;
  get(".error").hidden = !e;
  setCut(get(".error span"), e ? e.text : "");
  setText(get(".error small"), e ? "at " + at(e.time) : "");
}

// ---- sums and times

function showFigures(s) {
  const m = s.last_minute, sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
  const failed = sum(s.totals.failed), withdrawn = sum(s.totals.withdrawn);
  setText($("answered"), whole(s.totals.answered));
  setText($("failed"), whole(failed + s.totals.refused + withdrawn));
  setText($("failed-how"), whole(failed) + " failed, " + whole(s.totals.refused) + " refused, " + whole(withdrawn) + " withdrawn");
  setText($("rate"), rate(m.rate));
  const over = m.per_second.slice(0, -1); // the last second is not over
  setAttr($("rate-plot").firstElementChild, "d", steps(over, 59, 20, Math.max(4, ...over)));
  showQueue(s.queue);
  showLatency(m.latency);
}

function showQueue(q) {
  setText($("waiting"), whole(q.waiting));
  setText($("waiting-how"), (q.waiting > 0 ? "the first for " + long(q.oldest_seconds) + ", " : "") + "at most " + whole(q.most) + " at once");
  setAttr($("waiting-plot").firstElementChild, "d", steps(q.history, 60, 20, Math.max(4, ...q.history)));
}

function showLatency(latency) {
  const all = children($("latency").tBodies[0], latency.length, newLatency);
  latency.forEach((l, i) => {
    setText(all[i].querySelector("th"), l.type || names[l.approach]);
    setAttr(all[i].querySelector("th"), "class", l.type ? "of" : "");
    const took = ["p50", "p95", "p99", "max"].map((p) => l.answered > 0 ? seconds(l[p + "_seconds"]) : "–");
    [whole(l.answered), ...took].forEach((text, j) => setText(all[i].children[j + 1], text));
  });
}

function newLatency() {
  const tr = makeRow();
  tr.append(makeCell("th"));
  for (let i = 0; i < 5; i++) tr.append(makeCell("td", "num"));
  return tr;
}

// ---- the spread

const columns = Object.keys(names); // of the table, as page.html heads them

function showSpread(s, indices) {
  setText($("spread-says"), s.spread.map(spreadText).join(" "));
  const all = children($("spread").tBodies[0], indices.length, newShare);
  const top = Math.min(1, 1.15 * Math.max(...s.spread.flatMap((q) => [...q.shares, ...q.fair]), ...s.workers.map((v) => v.fair_share)));
  indices.forEach((i, j) => {
    const tr = all[j], w = s.workers[i];
    setText(tr.querySelector("b"), w.name);
    setText(tr.querySelector(".num"), percent(w.fair_share));
    for (const p of s.spread) {
      const box = tr.querySelectorAll(".share")[columns.indexOf(p.approach)];
      setText(box.querySelector(".n"), p.assigned > 0 ? percent(p.shares[i]) : "–");
      setPart(box.querySelector("i"), "width", p.shares[i] / top);
      setPart(box.querySelector(".fair"), "left", (p.assigned > 0 ? p.fair[i] : w.fair_share) / top);
    }
  });
}

function spreadText(p) {
  const name = names[p.approach] || p.approach;
  if (p.assigned === 0) return name + ": nothing assigned yet.";
  if (p.off < 0.0005) return name + ": every worker has its fair share.";
  return name + ": at most " + (100 * p.off).toFixed(1) + " points off a fair share.";
}

function newShare() {
  const tr = makeRow(), name = makeCell("th");
  name.append(make("b"));
  tr.append(name, makeCell("td", "num"));
  for (let i = 0; i < 2; i++) {
    const td = makeCell("td"), box = make("div", "share"), bar = make("div", "bar");
    bar.append(make("i"), make("span", "fair"));
    box.append(make("span", "n"), bar);
    td.append(box);
    tr.append(td);
  }
  return tr;
}

// ---- the latest requests

function showLatest(s, fresh) {
  const body = $("latest").tBodies[0];
  $("none").hidden = s.latest.length > 0;
  $("latest").hidden = s.latest.length === 0;
  const newest = fresh ? 0 : Number(body.firstElementChild ? body.firstElementChild.dataset.number : 0);
  if (fresh) body.replaceChildren();
  const arrived = s.latest.slice(0, rows).filter((r) => r.number > newest).reverse();
  for (const r of arrived) body.prepend(newRequest(r));
  while (body.children.length > rows) body.lastElementChild.remove();
}

function newRequest(r) {
  const tr = makeRow(), outcome = makeCell("td", "outcome");
  tr.dataset.number = r.number;
  tr.dataset.outcome = r.outcome;
  outcome.append(make("span", "word", r.outcome));
  if (r.detail !== "Response from Worker") {
    const detail = make("small");
    setCut(detail, r.detail);
    outcome.append(" ", detail);
    tr.classList.add("said");
  }
  const text = { ended: at(r.time), type: r.type || "–", approach: (names[r.approach] || "–").toLowerCase(), worker: r.worker || "–", took: seconds(r.seconds) };
  for (const part in text) {
    const td = makeCell("td", part === "took" ? "num took" : part);
    td.textContent = text[part];
    tr.append(td);
  }
  if (r.attempts > 1) tr.querySelector(".worker").append(" ", make("small", "attempts", r.attempts + " attempts"));
  tr.append(outcome);
  return tr;
}
