// The page asks for /status.json twice a second and shows it, and hears of each
// request's steps from /events. This file looks, loses the broker and finds it
// again; the others show.
import { $, setAttr, setText } from "./elements.js";
import { at, counted, long, whole } from "./text.js";
import * as beside from "./beside.js";
import * as dots from "./dots.js";
import * as feed from "./feed.js";
import * as figures from "./figures.js";
import * as orders from "./orders.js";
import * as words from "./words.js";

const every = 500;     // ms between two looks
const patience = 3000; // ms that the broker has for an answer

let shown = null;     // the latest figures
let lostSince = null; // when the broker stopped answering
let timer = 0;
let looking = false;  // an answer is awaited

function say(text) { setText($("said"), text); }

function show(s) {
  const fresh = !shown || shown.started !== s.started;
  if (lostSince) found(fresh && shown);
  if (!fresh && !feed.live) words.compare(shown, s);
  setAttr($("link"), "data-link", "live");
  setText($("link-text"), "live");
  $("stopping").hidden = !s.stopping;
  $("unwritten").hidden = s.totals.lines_dropped === 0;
  setText($("unwritten-lines"), whole(s.totals.lines_dropped));
  setText($("about"), s.listen + ", up for " + long((new Date(s.time) - new Date(s.started)) / 1000));
  const title = counted(s.workers.reduce((n, w) => n + w.in_flight, 0), "request", "requests") + " in flight – Broker";
  if (document.title !== title) document.title = title;
  figures.show(s, fresh);
  if (!shown || names(shown) !== names(s)) dots.measure();
  beside.show(s, fresh);
  orders.show(s, fresh);
  shown = s;
  feed.open();
}

const names = (s) => s.workers.map((w) => w.name).join();

function found(anew) {
  say(anew ? "The broker is back; it was started anew." : "The broker is back.");
  lostSince = null;
  $("lost").hidden = true;
  document.body.classList.remove("is-lost");
  feed.soon();
}

function lost(problem) {
  if (lostSince) return;
  console.warn(problem);
  lostSince = new Date();
  feed.close();
  $("legend").hidden = false;
  $("no-stream").hidden = true; // there is more that is missing
  const text = "The broker does not answer. " +
    (shown ? "These figures are from " + at(shown.time) + "; " : "") + "this page comes back by itself.";
  setText($("lost"), text);
  $("lost").hidden = false;
  say(text);
  document.body.classList.add("is-lost");
  setAttr($("link"), "data-link", "lost");
  setText($("link-text"), "lost at " + at(lostSince));
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

async function look() {
  if (looking) return;
  clearTimeout(timer);
  looking = true;
  try { show(await persist()); } catch (problem) { lost(problem); }
  looking = false;
  if (!document.hidden) timer = setTimeout(look, every);
}

feed.tell((e) => {
  $("legend").hidden = e.event === "closed";
  $("no-stream").hidden = e.event !== "closed";
  dots.see(e);
  beside.see(e);
  words.see(e);
});
orders.onOrder(look);

// A page that is not visible asks for nothing and hears nothing.
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.hidden) {
    feed.close();
    return;
  }
  feed.soon();
  look();
});

look();
