// One event stream a tab. An event says that something changed; the regions that show it are asked for again, at most
// once a second, and laid over what is there: focus, selection and scroll stay where they are.
import { lay } from "./morph.js";

const KINDS = { gpu_changed: "gpus", gpu_set_aside: "gpus", worker_changed: "workers" };
const PAUSE = 300; // milliseconds for events to gather
const STALE = 5000; // without the stream for so long, the page says that it is old

const button = document.getElementById("live");
const words = document.getElementById("live-words");
const wanted = new Set();
let timer = 0;
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

function address(region) {
  const query = new URLSearchParams(location.search);
  if (region.dataset.id) query.set("id", region.dataset.id);
  return `/ui/${region.dataset.region}?${query}`;
}

async function load(region) {
  const answer = await fetch(address(region), { headers: { Accept: "text/html" } });
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(`${answer.status}`);
  const html = await answer.text();
  if (region.shown !== html) {
    region.shown = html;
    lay(region, html);
    region.dispatchEvent(new CustomEvent("changed", { bubbles: true }));
  }
}

async function update() {
  timer = 0;
  const now = [...wanted];
  wanted.clear();
  const results = await Promise.allSettled(now.map(load));
  if (results.some((result) => result.status === "rejected")) stale();
  else if (!cut) say("live", "live");
}

function want(kind) {
  for (const region of regions(kind)) wanted.add(region);
  if (wanted.size && !timer && !paused && !document.hidden) timer = setTimeout(update, PAUSE);
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
