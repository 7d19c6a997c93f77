// One event stream a tab. An event says that something changed; the regions that show it are asked for again, at most
// once a second, and laid over what is there: focus, selection and scroll stay where they are.
import { lay } from "./morph.js";

const KINDS = { gpu_changed: "gpus", gpu_set_aside: "gpus", worker_changed: "workers", settings_changed: "people" };
const PAUSE = 150; // milliseconds for events to gather
const APART = 900; // between two updates, while much happens
const STALE = 5000; // without the stream for so long, the page says that it is old

const button = document.getElementById("live");
const words = document.getElementById("live-words");
const wanted = new Set();
let timer = 0;
let last = 0;
let paused = false;
let cut = 0;

function say(state, text) {
  button.dataset.state = state;
  words.textContent = text;
}

function regions(kind) {
  const all = [...document.querySelectorAll("[data-region]")];
  return kind ? all.filter((region) => region.dataset.watch.split(" ").includes(kind)) : all;
}

// One request for all of them; only what is not shown already comes back.
function address(all) {
  const query = new URLSearchParams(location.search);
  query.set("names", all.map((region) => region.dataset.region).join(","));
  query.set("have", all.filter((region) => region.tag).map((region) => `${region.dataset.region}:${region.tag}`).join(","));
  const id = all.find((region) => region.dataset.id)?.dataset.id;
  if (id) query.set("id", id);
  return `/ui?${query}`;
}

async function load(all) {
  const answer = await fetch(address(all), { headers: { Accept: "application/json" } });
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(`${answer.status}`);
  const fresh = await answer.json();
  for (const region of all) {
    const drawn = fresh[region.dataset.region];
    if (!drawn) continue;
    region.tag = drawn.tag;
    lay(region, drawn.html);
    region.dispatchEvent(new CustomEvent("changed", { bubbles: true }));
  }
}

async function update() {
  const now = [...wanted];
  wanted.clear();
  last = performance.now();
  try {
    await load(now);
    if (!cut) say("live", "live");
  } catch {
    stale();
  }
  timer = 0;
  if (wanted.size) plan();
}

// At once when it was quiet, else a second after the last time.
function plan() {
  if (timer || paused || document.hidden) return;
  timer = setTimeout(update, Math.max(PAUSE, last + APART - performance.now()));
}

function want(kind) {
  for (const region of regions(kind)) wanted.add(region);
  if (wanted.size) plan();
}

function stale() {
  say("stale", "out of date: trying again");
}

export function refresh() {
  want("");
}

export function follow() {
  const stream = new EventSource("/api/events");
  stream.onopen = () => {
    if (cut) want("");
    clearTimeout(cut);
    cut = 0;
    if (!paused) say("live", "live");
  };
  stream.onerror = () => {
    if (!cut) cut = setTimeout(stale, STALE);
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, STALE);
  };
  stream.addEventListener("queue_changed", () => want("queue"));
  stream.addEventListener("resync", () => want(""));
  for (const [event, kind] of Object.entries(KINDS)) stream.addEventListener(event, () => want(kind));
  addEventListener("pagehide", () => stream.close(), { once: true });
}

button.addEventListener("click", () => {
  paused = !paused;
  button.setAttribute("aria-pressed", String(paused));
  say(paused ? "paused" : "live", paused ? "paused" : "live");
  if (!paused) want("");
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) want("");
});

// What no event tells of: memory and load of GPUs.
setInterval(() => {
  if (!document.hidden) want("gpus");
}, 5000);
