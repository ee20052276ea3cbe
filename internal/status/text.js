// Numbers, times and words of the broker as the page writes them.

export const names = { round_robin: "Round robin", least_connections: "Least connections" };

// partName is the name of a part of a run.
export const partName = (name) => names[name] || name.slice(0, 1).toUpperCase() + name.slice(1);

export const whole = new Intl.NumberFormat("en").format;

export function seconds(s) {
  if (s === 0) return "0";
  if (s < 0.00095) return "< 1 ms";
  if (s < 0.0995) return Number((s * 1000).toPrecision(2)) + " ms";
  if (s < 0.9995) return Math.round(s * 1000) + " ms";
  if (s < 59.95) return s.toFixed(s < 9.995 ? 2 : 1) + " s";
  return long(s);
}

export function long(s) {
  s = Math.round(s);
  const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  if (h > 0) return h + " h " + m + " min";
  if (m > 0) return m + " min " + (s % 60) + " s";
  return s + " s";
}

export function rate(r) {
  if (r === 0) return "0";
  return r >= 99.5 ? whole(Math.round(r)) : r >= 9.95 ? r.toFixed(1) : r.toFixed(2);
}

export function percent(p) { return (100 * p).toFixed(1) + "\u00a0%"; }

export function counted(n, one, many) { return whole(n) + " " + (n === 1 ? one : many); }

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export const at = (time) => clock.format(new Date(time));
