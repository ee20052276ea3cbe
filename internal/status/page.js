// The page asks for /status.json and shows it. Whatever came over the network
// is set as text (textContent), never as HTML.
"use strict";

const every = 500;    // ms between two looks
const patience = 3000; // ms that the broker has for an answer
const $ = (id) => document.getElementById(id);

const requests = 15;   // rows of the latest ones; /status.json has more

// What was shown last, to say only what changed.
let shown = null;     // the latest figures
let lostSince = null; // when the broker stopped answering
let timer = 0;

// ---- small tools

function make(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function makeSVG(tag, attributes) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const name in attributes) e.setAttribute(name, attributes[name]);
  return e;
}

// A screen reader hears of a text only when it differs.
function setText(e, text) {
  text = String(text);
  if (e.textContent !== text) e.textContent = text;
}

function setAttr(e, name, value) {
  value = String(value);
  if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}

// rows makes a table body, or a list, have n children, and returns them.
function rows(body, n, create) {
  while (body.children.length > n) body.lastElementChild.remove();
  while (body.children.length < n) body.append(create());
  return body.children;
}

function cell(tag, className, label) {
  const e = make(tag, className);
  if (tag === "th") { e.scope = "row"; e.setAttribute("role", "rowheader"); } else e.setAttribute("role", "cell");
  if (label) e.dataset.label = label;
  return e;
}

function row() {
  const e = make("tr");
  e.setAttribute("role", "row");
  return e;
}

// ---- numbers as text

const whole = new Intl.NumberFormat("en").format;

function seconds(s) {
  if (s < 0.00095) return "< 1 ms";
  if (s < 0.0995) return Number((s * 1000).toPrecision(2)) + " ms";
  if (s < 0.9995) return Math.round(s * 1000) + " ms";
  if (s < 59.95) return s.toFixed(s < 9.995 ? 2 : 1) + " s";
  return long(s);
}

function long(s) {
  s = Math.round(s);
  const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  if (h > 0) return h + " h " + m + " min";
  if (m > 0) return m + " min " + (s % 60) + " s";
  return s + " s";
}

function rate(r) {
  if (r === 0) return "0";
  return r >= 99.5 ? whole(Math.round(r)) : r >= 9.95 ? r.toFixed(1) : r.toFixed(2);
}

function percent(p) { return (100 * p).toFixed(1) + "\u00a0%"; }

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const at = (time) => clock.format(new Date(time));

function counted(n, one, many) { return whole(n) + " " + (n === 1 ? one : many); }

// ---- the parts of the page

// steps draws numbers as an area with steps, the newest at the right edge.
function steps(numbers, width, height, top) {
  if (numbers.length === 0) return "";
  let x = width - numbers.length, d = "M" + x + " " + (height + 2);
  for (const n of numbers) {
    const y = (height - (height - 2) * n / top).toFixed(2);
    d += "V" + y + "H" + (++x);
  }
  return d + "V" + (height + 2) + "Z";
}

function showWay(s) {
  setText($("clients"), whole(s.clients));
  setText($("way-rate"), rate(s.last_minute.rate));
  setAttr($("wire-in").firstElementChild, "class", s.clients > 0 ? "busy" : "");
  const n = s.workers.length;
  const stops = rows($("stops"), n, newStop), wires = rows($("wire-out"), n, () => makeSVG("path", {}));
  const highest = Math.max(1, ...s.workers.map((w) => w.in_flight));
  s.workers.forEach((w, i) => {
    const y = 100 * (i + 0.5) / n;
    setAttr(wires[i], "d", `M0 50C50 50 50 ${y} 100 ${y}`);
    setAttr(wires[i], "class", w.in_flight > 0 ? "busy" : w.state === "cooling down" ? "down" : "");
    wires[i].style.strokeWidth = w.in_flight > 0 ? 1.5 + 2 * w.in_flight / highest : "";
    setAttr(stops[i], "data-state", w.state);
    setText(stops[i].querySelector(".name"), w.name);
    setText(stops[i].querySelector(".why"), w.state === "up" || w.state === "not asked yet" ? "" : w.state);
    setText(stops[i].querySelector(".n"), whole(w.in_flight));
  });
}

function newStop() {
  const li = make("li"), dot = make("span", "dot");
  dot.setAttribute("aria-hidden", "true");
  li.append(dot, make("span", "name"), make("span", "why"), make("span", "n"));
  return li;
}

function showWorkers(s) {
  const body = $("workers").tBodies[0];
  const all = rows(body, s.workers.length, newWorker);
  const top = Math.max(4, ...s.workers.flatMap((w) => [w.in_flight, ...w.in_flight_history]));
  const now = new Date(s.time);
  s.workers.forEach((w, i) => showWorker(all[i], w, top, now));
}

// known says since when a worker's state is known, or how long it lasts.
function known(w, now) {
  if (w.cooling_seconds > 0) return "for another " + long(Math.ceil(w.cooling_seconds));
  if (w.state === "draining") return whole(w.in_flight) + " in flight";
  if (w.state === "due for a trial") return "the next request is its trial";
  if (w.last_answer) return "answered " + long((now - new Date(w.last_answer)) / 1000) + " ago";
  return w.assigned > 0 ? "no answer yet" : "";
}

function newWorker() {
  const tr = row();
  const name = cell("th"), state = cell("td", "state"), flight = cell("td", "cell-flight");
  name.append(make("b"), make("span", "addr"));
  const dot = make("span", "dot");
  dot.setAttribute("aria-hidden", "true");
  state.append(dot, make("span", "word"), make("small"));
  const box = make("div", "flight"), bar = make("div", "bar");
  bar.append(make("i"));
  const plot = makeSVG("svg", { class: "plot", viewBox: "0 0 60 20", preserveAspectRatio: "none", "aria-hidden": "true" });
  plot.append(makeSVG("path", {}));
  box.append(make("span", "n"), bar, plot, make("small"));
  flight.append(box);
  tr.append(name, state, cell("td", "num weight", "Weight"), flight,
    cell("td", "num rr", "Round robin"), cell("td", "num lc", "Least conn."), cell("td", "num failed", "Failed"), cell("td", "error"));
  tr.querySelector(".error").append(make("span"), make("small"));
  return tr;
}

function showWorker(tr, w, top, now) {
  const get = (selector) => tr.querySelector(selector);
  setAttr(tr, "data-worker", w.name);
  setAttr(tr, "data-state", w.state);
  setText(get("th b"), w.name);
  setText(get(".addr"), w.addr);
  setText(get(".word"), w.state);
  setText(get(".state small"), known(w, now));
  setText(get(".weight"), w.weight);
  setText(get(".flight .n"), whole(w.in_flight));
  get(".bar i").style.width = 100 * w.in_flight / top + "%";
  setAttr(get(".plot path"), "d", steps(w.in_flight_history, 60, 20, top));
  setText(get(".flight small"), "at most " + whole(w.most_in_flight) + " since the start");
  setText(get(".rr"), whole(w.answered.round_robin));
  setText(get(".lc"), whole(w.answered.least_connections));
  setText(get(".failed"), whole(w.failed));
  const e = w.latest_error;
  get(".error").classList.toggle("nothing", !e);
  setText(get(".error span"), e ? e.text : "none");
  setText(get(".error small"), e ? "at " + at(e.time) : "");
}

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
  const all = rows($("latency").tBodies[0], latency.length, newLatency);
  latency.forEach((l, i) => {
    setText(all[i].querySelector("th"), l.type || names[l.approach]);
    setAttr(all[i].querySelector("th"), "class", l.type ? "of" : "");
    const took = ["p50", "p95", "p99", "max"].map((p) => l.answered > 0 ? seconds(l[p + "_seconds"]) : "–");
    [whole(l.answered), ...took].forEach((text, j) => setText(all[i].children[j + 1], text));
  });
}

function newLatency() {
  const tr = row();
  tr.append(cell("th"));
  for (let i = 0; i < 5; i++) tr.append(cell("td", "num"));
  return tr;
}

const names = { round_robin: "Round robin", least_connections: "Least connections" };

const columns = Object.keys(names); // of the table, as page.html heads them

function showSpread(s) {
  setText($("spread-says"), s.spread.map(spreadText).join(" "));
  const all = rows($("spread").tBodies[0], s.workers.length, newShare);
  s.workers.forEach((w, i) => {
    const tr = all[i];
    setText(tr.querySelector("b"), w.name);
    setText(tr.querySelector(".num"), percent(w.fair_share));
    for (const p of s.spread) {
      const box = tr.querySelectorAll(".share")[columns.indexOf(p.approach)];
      const fair = p.assigned > 0 ? p.fair[i] : w.fair_share;
      const top = Math.min(1, 1.15 * Math.max(...s.spread.flatMap((q) => [...q.shares, ...q.fair]), ...s.workers.map((v) => v.fair_share)));
      setText(box.querySelector(".n"), p.assigned > 0 ? percent(p.shares[i]) : "–");
      box.querySelector("i").style.width = 100 * p.shares[i] / top + "%";
      box.querySelector(".fair").style.left = 100 * fair / top + "%";
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
  const tr = row(), name = cell("th");
  name.append(make("b"));
  tr.append(name, cell("td", "num"));
  for (let i = 0; i < 2; i++) {
    const td = cell("td"), box = make("div", "share"), bar = make("div", "bar");
    bar.append(make("i"), make("span", "fair"));
    box.append(make("span", "n"), bar);
    td.append(box);
    tr.append(td);
  }
  return tr;
}

function showLatest(s, fresh) {
  const body = $("latest").tBodies[0];
  $("none").hidden = s.latest.length > 0;
  $("latest").hidden = s.latest.length === 0;
  const newest = fresh ? 0 : Number(body.firstElementChild ? body.firstElementChild.dataset.number : 0);
  if (fresh) body.replaceChildren();
  const arrived = s.latest.slice(0, requests).filter((r) => r.number > newest).reverse();
  // One that arrives is shown by a passing tint; a torrent is not, it would flicker.
  for (const r of arrived) body.prepend(newRequest(r, !fresh && arrived.length < 4));
  while (body.children.length > requests) body.lastElementChild.remove();
}

function newRequest(r, arrives) {
  const tr = row(), outcome = cell("td", "outcome");
  tr.dataset.number = r.number;
  tr.dataset.outcome = r.outcome;
  if (arrives) tr.classList.add("new");
  outcome.append(make("span", "word", r.outcome));
  if (r.detail !== "Response from Worker") {
    outcome.append(make("small", "", r.detail));
    tr.classList.add("said");
  }
  const text = { ended: at(r.time), type: r.type || "–", approach: (names[r.approach] || "–").toLowerCase(), worker: (r.worker || "–") + (r.attempts > 1 ? ", attempt " + r.attempts : ""), took: seconds(r.seconds) };
  for (const part in text) {
    const td = cell("td", part === "took" ? "num took" : part);
    td.textContent = text[part];
    tr.append(td);
  }
  tr.append(outcome);
  return tr;
}

// ---- what a screen reader is told: which workers went down or came back

function say(text) { setText($("said"), text); }

function sayChanges(s, before) {
  const changes = [], states = new Map(before.workers.map((w) => [w.name, w.state]));
  s.workers.forEach((w) => {
    const was = states.get(w.name);
    if (was === w.state) return;
    if (was === undefined) changes.push(w.name + " was added.");
    else if (w.state === "up" && was !== "not asked yet") changes.push(w.name + " is up again.");
    if (w.state === "draining") changes.push(w.name + " drains.");
    if (w.state === "drained") changes.push(w.name + " has drained.");
    if (w.state === "cooling down" && (was === "up" || was === "not asked yet")) changes.push(w.name + " is cooling down.");
  });
  if (changes.length > 0) say(changes.join(" "));
}

// ---- looking, losing the broker, finding it again

function show(s) {
  const fresh = !shown || shown.started !== s.started;
  if (lostSince) {
    say(fresh && shown ? "The broker is back; it was started anew." : "The broker is back.");
    lostSince = null;
    $("lost").hidden = true;
    document.body.classList.remove("is-lost");
  } else if (!fresh) sayChanges(s, shown);
  setAttr($("link"), "data-link", "live");
  setText($("link-text"), "live");
  $("stopping").hidden = !s.stopping;
  $("unwritten").hidden = s.totals.lines_dropped === 0;
  setText($("unwritten-lines"), whole(s.totals.lines_dropped));
  setText($("about"), s.listen + ", up for " + long((new Date(s.time) - new Date(s.started)) / 1000));
  document.title = counted(s.workers.reduce((n, w) => n + w.in_flight, 0), "request", "requests") + " in flight – Broker";
  showWay(s);
  showWorkers(s);
  showFigures(s);
  showSpread(s);
  showLatest(s, fresh);
  shown = s;
}

function lost(problem) {
  if (lostSince) return;
  console.warn(problem);
  lostSince = new Date();
  const text = "The broker does not answer. " +
    (shown ? "These figures are from " + at(shown.time) + "; " : "") + "this page comes back by itself.";
  setText($("lost"), text);
  $("lost").hidden = false;
  say(text);
  document.body.classList.add("is-lost");
  setAttr($("link"), "data-link", "lost");
  setText($("link-text"), "lost at " + clock.format(lostSince));
  $("stopping").hidden = true;
  document.title = "No answer – Broker";
}

async function fetchStatus() {
  const reply = await fetch("status.json", { signal: AbortSignal.timeout(patience), cache: "no-store" });
  if (!reply.ok) throw new Error(reply.status);
  return reply.json();
}

// The broker closes a connection that is idle when another viewer needs its
// place. So a connection that breaks is tried once more before it means anything.
async function persist() {
  try { return await fetchStatus(); } catch (problem) {
    if (!(problem instanceof TypeError)) throw problem; // it answered, or had its time
    return fetchStatus();
  }
}

let looking = false; // an answer is awaited

async function look() {
  if (looking) return;
  looking = true;
  try { show(await persist()); } catch (problem) { lost(problem); }
  looking = false;
  if (!document.hidden) timer = setTimeout(look, every);
}

// A page that is not visible asks for nothing.
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) look();
});

look();
