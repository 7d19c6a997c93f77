// Ages count up between two updates: <time datetime data-age>.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

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

export function tick() {
  setInterval(() => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time[data-age]")) {
      const seconds = Math.max(0, (Date.now() - Date.parse(element.dateTime)) / 1000);
      const words = duration(seconds);
      if (seconds >= 10 && element.textContent !== words) element.textContent = words;
    }
  }, 1000);
}
