// The buttons. They are there only if the broker takes orders (-control), and
// each one does what a command line would do too; the page says which.
import { $, make, makeButton, setText } from "./elements.js";
import { prepare, showResult } from "./beside.js";
import { partName, seconds, whole } from "./text.js";

const patience = 5000; // ms that the broker has for an answer

const none = { id: 0, running: false };
let controlled = false; // the buttons are there
let look = () => {};    // asks for new figures at once
let run = none;         // the latest run that is known of
let known = 0;          // the run whose end has been shown
let asking = false;     // an answer to GET run is awaited
let pressed = false;    // the command is one that this viewer has pressed

// onOrder says what is to be called when an order was answered.
export function onOrder(f) { look = f; }

async function ask(method, path, body) {
  let reply, answer;
  try {
    reply = await fetch(path, {
      method, signal: AbortSignal.timeout(patience), cache: "no-store",
      ...(body && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
    });
    answer = await reply.json();
  } catch (problem) { // its text is the browser's
    throw new Error("The broker did not answer. It may have done what you asked for, or not.", { cause: problem });
  }
  if (!reply.ok) throw new Error(answer.error);
  return answer;
}

// order gives an order and says what became of it.
async function order(method, path, body, command) {
  try {
    const answer = await ask(method, path, body);
    say("");
    if (command) press(command);
    look();
    return answer;
  } catch (problem) {
    say(problem.message);
  }
}

// press shows the command of what this viewer has pressed, until the next press.
function press(command) {
  pressed = true;
  setText($("command"), command);
}

function say(problem) {
  $("refusal").hidden = !problem;
  setText($("refusal"), problem);
}

// show brings the buttons, or takes them away, and shows what the run does. If
// fresh, the broker is another one than before, whose runs count from 1.
export function show(s, fresh) {
  if (fresh) { run = none; known = -1; }
  if (controlled !== Boolean(s.control)) {
    controlled = Boolean(s.control);
    if (controlled) bring(); else $("control").remove();
  }
  if (controlled) follow(s.run);
}

function bring() {
  $("beside-section").before($("control-parts").content.firstElementChild.cloneNode(true));
  const on = (id, f) => $(id).addEventListener("click", f);
  on("one", () => begin({ n: 1, c: 1, types: [$("type").value], approaches: [$("approach").value] }));
  on("burst", () => begin({ n: 30, c: 30, types: [$("type").value], approaches: [$("approach").value] }));
  on("stream", () => begin({ ...mixed(), rate: rate(), approaches: [$("approach").value] }));
  on("compare", () => begin({ ...mixed(), n: 30, rate: rate(), compare: true }));
  on("stop", async () => showRun(await order("DELETE", "run")));
  on("copy", copy);
  const slider = $("rate-of"), field = $("rate-is"); // the same rate: the slider keeps it within its bounds
  slider.addEventListener("input", () => { field.value = rate(); });
  field.addEventListener("input", () => { if (field.value) slider.value = field.value; });
  field.addEventListener("change", () => { field.value = rate(); });
  known = -1;
}

const rate = () => Number($("rate-of").value);

// The types of a stream, by the values of #mix.
const mixes = {
  turn: { types: ["Long", "Short", "Short"] },
  random: { mix: { Long: 1, Short: 2 }, seed: 1 },
  short: { types: ["Short"] },
  long: { types: ["Long"] },
};
const mixed = () => mixes[$("mix").value];

async function begin(plan) {
  for (const button of $("control").querySelectorAll(".starts")) button.disabled = true; // a double click is one order
  const begun = prepare(plan.compare);
  const report = await order("POST", "run", plan);
  if (report) { begun(); known = -1; press(report.command); } else hear(run);
  showRun(report);
}

// follow asks how the run is going, while there is one and once when it is over.
async function follow(r) {
  hear(r || none);
  const { id, running } = run;
  if (asking || (!running && id === known)) return;
  asking = true;
  try {
    const report = await ask("GET", "run");
    showRun(report);
    known = report.running ? -1 : report.id;
  } catch (problem) { console.warn(problem); }
  asking = false;
}

// hear takes what is said of a run, unless it is older than what is known: answers
// may overtake each other, and a run that is over does not go on. It says what can
// be pressed then.
function hear({ id, running }) {
  if (id > run.id || (id === run.id && run.running)) run = { id, running };
  $("stop").disabled = !run.running;
  for (const button of $("control").querySelectorAll(".starts")) button.disabled = run.running;
}

function showRun(report) {
  if (!report || !report.id) return;
  hear(report);
  setText($("progress"), progress(report));
  if (report.command && !pressed) setText($("command"), report.command);
  say(report.error || "");
  if (report.results.length > 1) showResult(report);
}

function progress(r) {
  const part = r.part ? partName(r.part) + ": " : "";
  const of = r.planned > 0 ? ` of ${whole(r.planned)}` : "";
  return `${r.running ? "Running" : "Over"}, ${part}${whole(r.sent)}${of} sent, ${whole(r.answered)} answered, ${whole(r.failed)} failed, after ${seconds(r.seconds)}.`;
}

// copy copies the command. On an address that is not this machine's a browser
// keeps the clipboard from a page; there the command is only marked.
async function copy() {
  getSelection().selectAllChildren($("command"));
  try {
    await navigator.clipboard.writeText($("command").textContent);
    setText($("copy"), "Copied");
  } catch { setText($("copy"), "Marked"); }
  setTimeout(() => setText($("copy"), "Copy"), 2000);
}

// ---- the orders for one worker

// ordersFor gives the rows of a table the buttons of their workers.
export function ordersFor(s, workers, all) {
  workers.forEach((w, i) => {
    const tr = all[i], has = tr.querySelector(".drain");
    if (!s.control) { if (has) takeButtons(tr); return; }
    if (!has) giveButtons(tr);
    const drains = w.state === "draining" || w.state === "drained";
    const button = tr.querySelector(".drain"), weight = tr.querySelector("input");
    setText(button, drains ? "Up" : "Drain");
    button.setAttribute("aria-label", (drains ? "Up: " : "Drain ") + w.name);
    weight.setAttribute("aria-label", "Weight of " + w.name);
    if (document.activeElement !== weight) weight.value = w.weight;
  });
}

function giveButtons(tr) {
  const weight = make("input"), drain = makeButton("drain", "Drain");
  Object.assign(weight, { type: "number", min: 1, max: 1000, required: true });
  const change = (body, words) => order("PATCH", "workers/" + encodeURIComponent(tr.dataset.worker), body, "broker workers " + words);
  drain.addEventListener("click", () => {
    const up = drain.textContent === "Up", name = tr.dataset.worker;
    change({ state: up ? "up" : "draining" }, (up ? "up " : "drain ") + name);
  });
  weight.addEventListener("change", () => {
    if (weight.reportValidity()) change({ weight: weight.valueAsNumber }, `weight ${tr.dataset.worker} ${weight.value}`);
  });
  tr.querySelector(".weight span").hidden = true;
  tr.querySelector(".weight").append(weight);
  tr.querySelector(".state").append(drain);
}

function takeButtons(tr) {
  tr.querySelector(".drain").remove();
  tr.querySelector("input").remove();
  tr.querySelector(".weight span").hidden = false;
}
