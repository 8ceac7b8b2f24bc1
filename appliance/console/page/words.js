// Figures as people read them.

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });

export const count = (n) => whole.format(n);

// percent of a whole; 100 is for what is done.
export function percent(part, all) {
  if (!all) return "–";
  const p = (100 * part) / all;
  if (part < all && p > 99.9) return "99.9 %";
  return (p < 10 && p > 0 ? p.toFixed(1) : p < 99.5 ? p.toFixed(0) : p.toFixed(1).replace(/\.0$/, "")) + " %";
}

export function perSecond(n) {
  return n >= 100 || n === 0 ? whole.format(n) : n >= 10 ? n.toFixed(1) : n.toFixed(2);
}

export function duration(s) {
  s = Math.max(0, s);
  const r = Math.round(s);
  if (s === 0) return "0 s";
  if (s < 1) return Math.round(s * 1000) + " ms";
  if (s < 10) return s.toFixed(1) + " s";
  if (r < 60) return r + " s";
  const two = (large, size, words) => `${Math.floor(r / large)} ${words[0]}` + (Math.floor((r % large) / size) ? ` ${Math.floor((r % large) / size)} ${words[1]}` : "");
  if (r < 3600) return two(60, 1, ["min", "s"]);
  if (r < 86400) return two(3600, 60, ["h", "min"]);
  return two(86400, 3600, ["d", "h"]);
}

export function bytes(n) {
  if (n < 0) return "not known";
  let unit = 0;
  for (; n >= 1024 && unit < 5; unit++) n /= 1024;
  return (unit === 0 || n >= 100 ? n.toFixed(0) : n.toFixed(1)) + " " + ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit];
}

// when says a time, with the day where it is not today.
export function when(time, fine) {
  const t = new Date(time);
  const at = (fine ? seconds : clock).format(t);
  return t.toDateString() === new Date().toDateString() ? at : day.format(t) + ", " + at;
}

// The states of records, in the order in which bars show them.
export const states = [
  ["processed", "processed", "P"], ["success", "in target, more owed", "S"], ["inFlight", "in flight", "F"],
  ["unprocessed", "waiting", "U"], ["held", "held back", "H"], ["error", "failed", "E"],
];
