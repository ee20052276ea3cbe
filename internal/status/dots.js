// The dots: one for each request, drawn on a canvas over the way of a request.
//
// A dot is moved by the events of its request, and by nothing else. It goes from
// the client to the broker, waits in the queue if its request does, goes to a
// worker and stays there, and returns as an answer or as a cross. An event that
// comes while a dot is still on its way only adds to that way. So a dot is late by
// a second at most, and none holds up another.
//
// Drawing costs more than everything else on the page. So there are 14 frames a
// second, none while nothing moves, and each shape is drawn once and then copied.
import { $ } from "./elements.js";

const frame = 70; // ms from one frame to the next
const leg = 320;  // ms from one place to the next
const fading = 900; // ms that a cross stays where an attempt failed

const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

const canvas = $("dots"), way = $("way");
const dots = new Map(); // by the requests' ids
const crosses = [];     // where attempts have failed
const places = new Map(); // by "client", "broker", "queue" and "at " + worker
const pictures = new Map(); // the shapes
let context = null, scale = 1, radius = 9;
let hears = false; // events come
let timer = 0, request = 0, frames = 0;
let tally = {};

// ---- what is drawn, for tests and for the curious: a canvas has no elements
// that one could look at. The tally counts what has been drawn since the stream
// began, not what was heard of.
//
// tally: { Long: { shape, sent, at: { "Worker-1": n }, queued, answers, crosses }, … }

function count(dot, what, place) {
  const t = tally[dot.type || "?"] ||= { shape: shapes[dot.type] || "circle", sent: 0, at: {}, queued: 0, answers: 0, crosses: 0 };
  if (what === "at") t.at[place] = (t.at[place] || 0) + dot.n; else t[what] += dot.n;
}

Object.defineProperty(window, "drawn", { value: Object.freeze({
  hears: () => hears,
  frames: () => frames,
  tally: () => structuredClone(tally),
  now: () => [...dots.values()].map(({ id, n, type, as, place, legs }) => ({ id, n, type, as, place, moves: legs.length > 0 })),
}) });

// ---- events

// see takes an event of the stream.
export function see(e) {
  if (e.event === "hello" || e.event === "closed") hears = e.event === "hello";
  if (still.matches) return;
  if (["hello", "lost", "closed"].includes(e.event)) clear();
  const step = steps[e.event];
  const dot = step && (dots.get(e.id) || (begins.has(e.event) && newDot(e)));
  if (!dot) return;
  step(dot, e);
  wake();
}

const begins = new Set(["queued", "assigned", "refused"]);

const steps = {
  queued(dot) { go(dot, "broker"); go(dot, "queue"); },
  assigned(dot, e) {
    if (dot.aim !== "queue") go(dot, "broker");
    go(dot, "at " + e.worker);
  },
  sent() {},
  answered(dot) { back(dot, "answer"); },
  failed(dot) { back(dot, "cross"); },
  refused(dot) { go(dot, "broker"); back(dot, "cross"); },
  left(dot) { dot.legs.push({ to: dot.aim, as: "cross", end: true }); },
};

function newDot(e) {
  const dot = { id: e.id, n: e.n || 1, type: e.type || "", as: "request", place: "client", aim: "client", legs: [], since: 0, slot: -1 };
  Object.assign(dot, spot("client", dot));
  dots.set(dot.id, dot);
  count(dot, "sent");
  return dot;
}

// go adds a leg to the way of a dot. One that goes back from a worker as a request
// leaves a cross there: the attempt has failed.
function go(dot, to) {
  dot.legs.push({ to, failed: to === "broker" && dot.aim.startsWith("at ") });
  dot.aim = to;
}

function back(dot, as) {
  if (dot.aim !== "broker") dot.legs.push({ to: "broker", as });
  dot.legs.push({ to: "client", as, end: true });
  dot.aim = "client";
}

// clear takes all dots away: of those that are known some steps are missing.
function clear() {
  dots.clear();
  crosses.length = 0;
  tally = {};
  for (const p of places.values()) p.taken.clear();
  paint();
}

// ---- moving

function wake() {
  if (!timer && !request) request = requestAnimationFrame(draw);
}

function draw(now) {
  request = 0;
  let moves = false;
  for (const dot of dots.values()) moves = move(dot, now) || moves;
  while (crosses.length > 0 && now - crosses[0].since > fading) crosses.shift();
  paint();
  if (!moves && crosses.length === 0) return;
  timer = setTimeout(() => { timer = 0; wake(); }, frame);
}

// move moves a dot to where it is now, and reports whether it goes on.
function move(dot, now) {
  for (let next = dot.legs[0]; next; next = dot.legs[0]) {
    if (!dot.since) depart(dot, next, now);
    const took = leg / (1 + Math.floor(dot.legs.length / 6)); // one with many attempts hurries
    const part = dot.from.x === dot.to.x && dot.from.y === dot.to.y ? 1 : (now - dot.since) / took;
    if (part < 1) {
      dot.x = dot.from.x + (dot.to.x - dot.from.x) * part;
      dot.y = dot.from.y + (dot.to.y - dot.from.y) * part;
      return true;
    }
    arrive(dot, next, Math.min(now, dot.since + took));
  }
  return false;
}

function depart(dot, next, now) {
  if (next.failed) crosses.push({ x: dot.x, y: dot.y, since: now });
  if (next.as) dot.as = next.as;
  places.get(dot.place)?.taken.delete(dot.slot);
  dot.since = dot.arrived && now - dot.arrived < frame ? dot.arrived : now;
  dot.from = { x: dot.x, y: dot.y };
  dot.place = next.to;
  dot.to = spot(next.to, dot);
}

function arrive(dot, next, now) {
  Object.assign(dot, dot.to);
  dot.legs.shift();
  dot.since = 0;
  dot.arrived = now;
  if (next.to === "queue") count(dot, "queued");
  if (next.to.startsWith("at ") && dot.as === "request") count(dot, "at", next.to.slice(3));
  if (!next.end) return;
  count(dot, dot.as === "answer" ? "answers" : "crosses");
  places.get(dot.place)?.taken.delete(dot.slot);
  dots.delete(dot.id);
  if (dot.as === "cross") crosses.push({ x: dot.x, y: dot.y, since: now });
}

// spot takes a spot for a dot in a place, and returns where it is. Those for
// which there is no room share the last one; the number beside them is right.
function spot(name, dot) {
  const p = places.get(name) || places.get("broker");
  if (!p) return { x: 0, y: 0 };
  dot.slot = -1;
  if (!p.room) return passing(p, dot);
  let i = 0;
  while (p.taken.has(i)) i++;
  p.taken.add(i);
  dot.slot = i;
  return within(p, i);
}

// passing is where a dot passes a place in which none stays: requests keep to one
// side of the line, and what comes back to the other.
function passing(p, dot) {
  return { x: p.x, y: p.y + (dot.as === "request" ? -1 : 1) * 1.1 * radius };
}

function within(p, i) {
  const step = 2 * radius + 3;
  const across = Math.max(1, Math.floor(p.width / step)), down = Math.max(1, Math.floor(p.height / step));
  i = Math.min(i, across * down - 1, p.room - 1);
  return { x: p.x + radius + step * (i % across), y: p.y + radius + step * Math.floor(i / across) };
}

// ---- where the places are

// measure looks where the places are. A dot that rests moves with its place.
export function measure() {
  const box = way.getBoundingClientRect();
  radius = parseFloat(getComputedStyle(way).fontSize) * 0.6;
  const old = new Map(places);
  places.clear();
  const put = (name, e, room) => {
    const place = room ? area(e, box) : middle(e, box);
    places.set(name, { ...place, room, taken: old.get(name)?.taken || new Set() });
  };
  put("client", $("at-client"), 0);
  put("broker", $("at-queue"), 0);
  put("queue", $("at-queue"), 100);
  for (const li of $("stops").children) put("at " + li.dataset.at, li.querySelector(".place"), 100);
  places.get("client").x = $("at-client").getBoundingClientRect().right - box.left - radius;
  wires(box);
  for (const dot of dots.values()) rest(dot);
  resize(box);
}

function middle(e, box) {
  const b = e.getBoundingClientRect();
  return { x: b.left - box.left + b.width / 2, y: b.top - box.top + b.height / 2 };
}

// area is where dots may stay: rows of them, in the middle of an element's height.
function area(e, box) {
  const b = e.getBoundingClientRect(), step = 2 * radius + 3;
  const height = Math.max(1, Math.floor(b.height / step)) * step;
  return { x: b.left - box.left, y: b.top - box.top + (b.height - height) / 2 + 1.5, width: b.width, height };
}

function rest(dot) {
  const p = places.get(dot.place);
  if (!p) return;
  const at = p.room ? within(p, Math.max(0, dot.slot)) : passing(p, dot);
  if (dot.since) dot.to = at; else Object.assign(dot, at);
}

function resize(box) {
  scale = Math.min(2, devicePixelRatio);
  const width = Math.round(box.width * scale), height = Math.round(box.height * scale);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  context ||= canvas.getContext("2d");
  pictures.clear();
  paint();
}

// wires draws the lines along which the dots move. A crowd of workers has none.
function wires(box) {
  const svg = $("wires");
  svg.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
  const from = places.get("broker"), lines = [["client", places.get("client")]];
  if (!("many" in $("stops").dataset)) {
    for (const li of $("stops").children) lines.push([li, within(places.get("at " + li.dataset.at), 0)]);
  }
  svg.replaceChildren(...lines.map(([, to]) => {
    const line = document.createElementNS(svg.namespaceURI, "path");
    line.setAttribute("d", `M${from.x} ${from.y}L${to.x} ${to.y}`);
    return line;
  }));
}

new ResizeObserver(() => { if (places.size > 0) measure(); }).observe(way);
dark.addEventListener("change", () => { pictures.clear(); paint(); });
still.addEventListener("change", clear);

// ---- drawing

const shapes = { Long: "circle", Short: "square" };

function paint() {
  if (!context) return;
  frames++;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const c of crosses) copy("cross", "", 1, c);
  for (const dot of dots.values()) {
    if (dot.place !== "client" || dot.legs.length > 0) copy(dot.as, dot.type, dot.n, dot);
  }
}

function copy(as, type, n, { x, y }) {
  const key = as + type + n;
  let picture = pictures.get(key);
  if (!picture) pictures.set(key, picture = drawn(as, type, n));
  context.drawImage(picture, Math.round(x * scale - picture.width / 2), Math.round(y * scale - picture.height / 2));
}

// drawn draws a shape: a request is full, an answer hollow, with its letter and,
// if it stands for several, their number.
function drawn(as, type, n) {
  const text = (type ? type[0] : "?") + (n > 1 ? n : "");
  const r = radius * scale, wide = r * (text.length > 1 ? 0.62 * (text.length - 1) : 0);
  const picture = document.createElement("canvas"), c = picture.getContext("2d");
  picture.width = Math.ceil(2 * (r + wide) + 2);
  picture.height = Math.ceil(2 * r + 2);
  c.translate(picture.width / 2, picture.height / 2);
  const colours = getComputedStyle(way), colour = (name) => colours.getPropertyValue(name).trim();
  const own = colour(as === "cross" ? "--bad" : type === "Short" ? "--short" : "--long");
  c.lineWidth = r / 4;
  c.strokeStyle = c.fillStyle = own;
  if (as === "cross") {
    c.lineWidth = r / 2.5;
    c.beginPath();
    for (const s of [1, -1]) { c.moveTo(-r / 2, -s * r / 2); c.lineTo(r / 2, s * r / 2); }
    c.stroke();
    if (text.length > 1) write(c, text, r, wide + r / 2);
    return picture;
  }
  c.beginPath();
  const inner = r - r / 8;
  c.roundRect(-inner - wide, -inner, 2 * (inner + wide), 2 * inner, type === "Short" ? r / 4 : inner);
  if (as === "answer") { c.fillStyle = colour("--card"); c.fill(); c.stroke(); c.fillStyle = own; } else { c.fill(); c.fillStyle = colour("--card"); }
  write(c, text, r, 0);
  return picture;
}

function write(c, text, r, x) {
  c.font = `700 ${1.15 * r}px ${getComputedStyle(document.body).fontFamily}`;
  c.textAlign = "center";
  c.textBaseline = "middle";
  c.fillText(text, x, r / 12);
}
