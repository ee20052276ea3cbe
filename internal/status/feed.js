// The stream of events. A page that has none, because it is hidden, or there are
// too many viewers, or the broker is lost, still asks for /status.json.

const pause = 10000; // ms until a stream that broke off, or was refused, is tried again

let source = null, again = 0;
let told = () => {};

// live reports whether events come.
export let live = false;

export function tell(f) { told = f; }

// open opens the stream, unless it is open or has just failed.
export function open() {
  if (source || document.hidden || Date.now() < again) return;
  source = new EventSource("events");
  source.onmessage = (message) => {
    const e = JSON.parse(message.data);
    if (e.event === "hello") live = true;
    told(e);
  };
  source.onerror = () => { again = Date.now() + pause; close(); };
}

// close closes the stream, and tells the event "closed": the ends of requests
// that are in flight will not be heard of.
export function close() {
  if (!source) return;
  source.close();
  source = null;
  live = false;
  told({ event: "closed" });
}

// soon lets the next open try at once.
export function soon() { again = 0; }
