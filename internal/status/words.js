// What happened, as a list in words. A screen reader hears each new line.
import { $, make } from "./elements.js";
import { at, long, whole } from "./text.js";

const most = 12; // lines of the list

export function happened(text) {
  const li = make("li");
  li.append(make("time", "", at(Date.now())), " ", make("span", "", text));
  const list = $("happened");
  list.prepend(li);
  while (list.children.length > most) list.lastElementChild.remove();
  $("nothing-happened").hidden = true;
}

// see takes an event of the stream, if it is one for the list.
export function see(e) {
  if (e.event === "state") happened(stateText(e));
  if (e.event === "note") happened(e.text);
  if (e.event === "lost") happened(`This page was too slow: it has missed ${whole(e.n)} steps of requests.`);
}

function stateText(e) {
  switch (e.state) {
    case "up": return e.text === "it was added" ? `${e.worker} was added.` : `${e.worker} is up again: ${e.text}.`;
    case "cooling down": return `${e.worker} is cooling down for ${long(Math.ceil(e.seconds))}: ${e.text}.`;
    case "draining": return `${e.worker} is draining: it gets nothing new.`;
    case "drained": return `${e.worker} has drained: nothing is in flight there.`;
    case "removed": return `${e.worker} was removed.`;
  }
  return `${e.worker}: ${e.state}.`;
}

// compare tells the same from two looks, for a page that has no stream.
export function compare(before, now) {
  const were = new Map(before.workers.map((w) => [w.name, w.state]));
  for (const w of now.workers) {
    const was = were.get(w.name);
    were.delete(w.name);
    if (was === w.state) continue;
    if (was === undefined) happened(`${w.name} was added.`);
    else if (w.state === "up" && was !== "not asked yet") happened(`${w.name} is up again.`);
    else if (w.state === "cooling down" && (was === "up" || was === "not asked yet")) happened(`${w.name} is cooling down.`);
    else if (w.state === "draining" || w.state === "drained") happened(stateText({ worker: w.name, state: w.state }));
  }
  for (const name of were.keys()) happened(stateText({ worker: name, state: "removed" }));
}
