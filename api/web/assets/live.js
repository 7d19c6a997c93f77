// One event stream a tab. The server sends a region anew when it has changed, at most about once a second, and it is
// laid over what is there: focus, selection and scroll stay where they are.
import { lay } from "./morph.js";

const STALE = 5000; // milliseconds without the stream, until the page says that it is old

const button = document.getElementById("live");
const words = document.getElementById("live-words");
let stream = null;
let paused = false;
let cut = 0; // runs while the stream is down
let again = 0;

function say(state, text) {
  button.dataset.state = state;
  words.textContent = text;
}

function stale() {
  say("stale", "out of date: trying again");
}

function fine() {
  clearTimeout(cut);
  cut = 0;
  if (!paused) say("live", "live");
}

function regions() {
  return [...document.querySelectorAll("[data-region]")];
}

// What this page shows, and which state of it.
function address(path) {
  const all = regions();
  const query = new URLSearchParams(location.search);
  query.set("names", all.map((region) => region.dataset.region).join(","));
  query.set("have", all.map((region) => `${region.dataset.region}:${region.dataset.tag}`).join(","));
  const id = all.find((region) => region.dataset.id)?.dataset.id;
  if (id) query.set("id", id);
  return `${path}?${query}`;
}

function show(fresh) {
  for (const region of regions()) {
    const drawn = fresh[region.dataset.region];
    if (!drawn || region.dataset.tag === drawn.tag) continue;
    region.dataset.tag = drawn.tag;
    lay(region, drawn.html);
    region.dispatchEvent(new CustomEvent("changed", { bubbles: true }));
  }
}

// Without a stream (too many are open, the server is busy): ask once, and whether there is one now.
async function ask() {
  try {
    const answer = await fetch(address("/ui"), { headers: { Accept: "application/json" } });
    if (answer.status === 401) location.reload();
    if (!answer.ok) throw new Error(`${answer.status}`);
    show(await answer.json());
    fine();
  } catch {
    stale();
  }
  open();
}

function open() {
  if (stream || paused || document.hidden) return;
  stream = new EventSource(address("/ui/stream"));
  stream.onerror = () => {
    cut ||= setTimeout(stale, STALE);
    if (stream.readyState !== EventSource.CLOSED) return; // it tries again by itself
    close();
    again = setTimeout(ask, STALE);
  };
  stream.addEventListener("regions", (event) => {
    show(JSON.parse(event.data));
    fine();
  });
  stream.addEventListener("away", stale);
}

function close() {
  clearTimeout(again);
  stream?.close();
  stream = null;
}

export function follow() {
  open();
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
}

button.addEventListener("click", () => {
  paused = !paused;
  button.setAttribute("aria-pressed", String(paused));
  say(paused ? "paused" : "live", paused ? "paused" : "live");
  if (paused) close();
  else open();
});
