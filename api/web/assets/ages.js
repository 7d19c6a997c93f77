// Times as people say them: ages count up between two updates (<time datetime data-age>), moments are said in the time
// of where their person is (<time datetime>, and [data-clock] in charts). The server says both, in UTC, at first.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];
const DAY = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const CLOCK = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const WHOLE = new Intl.DateTimeFormat("en", { dateStyle: "full", timeStyle: "long" });

export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  for (const [index, [size, unit]] of UNITS.entries()) {
    if (seconds < size) continue;
    const [smaller, name] = UNITS[index + 1] ?? [1, "s"];
    const rest = Math.floor((seconds % size) / smaller);
    return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${name}` : ""}`;
  }
  return `${Math.floor(seconds)} s`;
}

function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

// "2 Nov 09:05", as the server writes it.
export function moment(date) {
  const part = Object.fromEntries(DAY.formatToParts(date).map(({ type, value }) => [type, value]));
  return `${part.day} ${part.month} ${part.hour}:${part.minute}`;
}

function local(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const date = new Date(element.dateTime);
    element.title = WHOLE.format(date);
    if (!("age" in element.dataset)) put(element, moment(date));
  }
  for (const element of root.querySelectorAll("[data-clock]")) {
    if (element.textContent.length === 5) put(element, CLOCK.format(new Date(element.dataset.clock)));
  }
}

function count() {
  for (const element of document.querySelectorAll("time[data-age]")) {
    const seconds = Math.max(0, (Date.now() - Date.parse(element.dateTime)) / 1000);
    if (seconds >= 10) put(element, duration(seconds));
  }
}

export function tick() {
  local(document);
  document.addEventListener("changed", (event) => local(event.target));
  setInterval(() => document.hidden || count(), 1000);
}
