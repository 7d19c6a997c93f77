// Acting on many jobs at once: those ticked, or all that match the filter. One confirmation with the count, then one
// call of the API each (a cancel is one call for all), and a summary of what was done and what was refused.
import { call, confirmed, say } from "./act.js";

const AT_ONCE = 6;
const PAGE = 200;
const FITS = {
  cancel: ["pending", "blocked", "running"],
  retry: ["failed", "cancelled"],
  hold: ["pending", "blocked"],
  release: ["pending", "blocked"],
  priority: ["pending", "blocked"],
  delete: ["completed", "failed", "cancelled"],
};
const WORDS = { cancel: "Cancel", retry: "Retry", hold: "Hold", release: "Release", priority: "Set the priority of", delete: "Delete" };
const chosen = new Map(); // job id → status

const bar = document.getElementById("bulk");
const count = document.getElementById("bulk-count");
const all = document.getElementById("bulk-all");

function boxes() {
  return [...document.querySelectorAll("input[name=job]")];
}

function draw() {
  for (const box of boxes()) {
    box.checked = chosen.has(box.value);
    if (box.checked) chosen.set(box.value, box.dataset.status);
  }
  const page = document.getElementById("pick-all");
  if (page) page.checked = boxes().length > 0 && boxes().every((box) => box.checked);
  bar.hidden = chosen.size === 0;
  count.textContent = chosen.size === 1 ? "1 job selected" : `${chosen.size} jobs selected`;
  all.hidden = !(page?.checked && document.querySelector(".pager a"));
  for (const button of bar.querySelectorAll("[data-bulk]")) {
    button.disabled = fitting(button.dataset.bulk).length === 0;
  }
}

function fitting(verb) {
  return [...chosen].filter(([, status]) => FITS[verb].includes(status)).map(([id]) => id);
}

async function matching() {
  const query = new URLSearchParams(location.search);
  const search = query.get("q");
  const address = search ? "/api/jobs" : "/api/queue";
  const asked = new URLSearchParams({ limit: `${PAGE}` });
  if (query.get("status")) asked.set("status", query.get("status"));
  if (search) asked.set("search", search);
  else if (query.get("all") === "1") asked.set("include_completed", "true");
  for (let offset = 0; ; offset += PAGE) {
    asked.set("offset", `${offset}`);
    const page = await call("GET", `${address}?${asked}`);
    for (const entry of page.entries ?? page.jobs) chosen.set(entry.job_id, entry.status);
    if (offset + PAGE >= page.total) break;
    say(`Selecting: ${chosen.size} of ${page.total}`);
  }
  draw();
}

function request(verb, id) {
  if (verb === "delete") return call("DELETE", `/api/jobs/${id}`);
  if (verb === "retry") return call("POST", `/api/jobs/${id}/retry`);
  if (verb === "priority") {
    return call("POST", `/api/queue/${id}/priority`, { priority: Number(document.getElementById("bulk-priority").value) });
  }
  return call("POST", `/api/queue/${id}/${verb}`);
}

async function each(verb, ids) {
  const refused = [];
  let done = 0;
  const waiting = [...ids];
  async function work() {
    for (let id = waiting.shift(); id; id = waiting.shift()) {
      try {
        await request(verb, id);
      } catch (error) {
        refused.push(error.message);
      }
      done += 1;
      if (ids.length > AT_ONCE) say(`${WORDS[verb]}: ${done} of ${ids.length}`);
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return refused;
}

async function cancel(ids) {
  const refused = [];
  for (let at = 0; at < ids.length; at += 1000) {
    const answer = await call("POST", "/api/jobs/cancel", { job_ids: ids.slice(at, at + 1000) });
    refused.push(...answer.failed.map((one) => one.detail));
  }
  return refused;
}

async function act(verb) {
  const ids = fitting(verb);
  const left = chosen.size - ids.length;
  const words = `${WORDS[verb]} ${ids.length === 1 ? "1 job" : `${ids.length} jobs`}?`;
  const rest = left ? ` The other ${left} selected are in another state and stay as they are.` : "";
  if (!(await confirmed(words + rest))) return;
  try {
    const refused = verb === "cancel" ? await cancel(ids) : await each(verb, ids);
    const done = ids.length - refused.length;
    say(refused.length ? `${done} done, ${refused.length} refused: ${refused[0]}` : `${done} done`, refused.length > 0);
    chosen.clear();
  } catch (error) {
    say(error.message, true);
  }
  draw();
}

document.addEventListener("change", (event) => {
  const box = event.target;
  if (box.matches("input[name=job]")) {
    if (box.checked) chosen.set(box.value, box.dataset.status);
    else chosen.delete(box.value);
  } else if (box.id === "pick-all") {
    for (const one of boxes()) {
      if (box.checked) chosen.set(one.value, one.dataset.status);
      else chosen.delete(one.value);
    }
  } else return;
  draw();
});
document.addEventListener("changed", draw);
all.addEventListener("click", () => matching().catch((error) => say(error.message, true)));
document.getElementById("bulk-none").addEventListener("click", () => {
  chosen.clear();
  draw();
});
for (const button of bar.querySelectorAll("[data-bulk]")) button.addEventListener("click", () => act(button.dataset.bulk));
