// The form and the description say the same; what would happen is asked of the server as one types (a dry run).
import { call, say } from "./act.js";
import { read, write } from "./toml.js";

const form = document.getElementById("submit");
const toml = document.getElementById("toml");
const told = document.getElementById("toml-said");
const forecast = document.getElementById("forecast");
const send = document.getElementById("send");
const NUMBERS = new Set(["num_processes", "priority_override"]);
const HINT = told.textContent;
let extra = {}; // what the description says and the form has no field for
let timer = 0;
let asked = 0;

// Words of a command line, with quotes as a shell reads them.
export function words(text) {
  const found = [];
  for (const [whole, single, double] of text.matchAll(/(?:'([^']*)'|"((?:[^"\\]|\\.)*)"|[^\s'"])+/g)) {
    if (single === undefined && double === undefined) found.push(whole);
    else found.push(whole.replace(/'([^']*)'|"((?:[^"\\]|\\.)*)"/g, (_, a, b) => a ?? b.replace(/\\(.)/g, "$1")));
  }
  return found;
}

function quoted(argv) {
  return argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)).join(" ");
}

function fromForm() {
  const body = {};
  for (const field of form.elements) {
    if (!field.name) continue;
    const text = field.value.trim();
    if (field.type === "checkbox") {
      if (field.checked) body[field.name] = true;
    } else if (text === "") continue;
    else if (field.name === "command") body.command = words(text);
    else if (field.name === "device_ids") body.device_ids = text.split(/[ ,]+/).filter(Boolean).map(Number);
    else if (field.name === "worker_labels") body.worker_labels = Object.fromEntries(text.split(",").map((pair) => pair.split("=").map((part) => part.trim())).filter(([key]) => key).map(([key, glob]) => [key, glob ?? ""]));
    else if (NUMBERS.has(field.name)) body[field.name] = Number(text);
    else body[field.name] = text;
  }
  return { ...body, ...extra };
}

function toForm(body) {
  extra = { ...body };
  for (const field of form.elements) {
    if (!field.name) continue;
    const value = body[field.name];
    delete extra[field.name];
    if (field.type === "checkbox") field.checked = value === true;
    else if (value === undefined) field.value = "";
    else if (field.name === "command") field.value = quoted(value);
    else if (field.name === "device_ids") field.value = value.join(", ");
    else if (field.name === "worker_labels") field.value = Object.entries(value).map((pair) => pair.join("=")).join(", ");
    else field.value = `${value}`;
  }
}

function tell(text, kind = "") {
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = text;
  return line;
}

// A worker's name, as the list of GPUs tells it.
async function named(worker) {
  if (!worker) return "";
  const status = await call("GET", "/api/system/status?include_allocation=true").catch(() => null);
  const gpu = status?.gpu_allocation.worker_devices.find((device) => device.worker_id === worker);
  return gpu?.worker ?? worker;
}

async function outcome(answer) {
  if (!answer.success) return [tell(`It would be refused: ${answer.reason}`, "refused")];
  if (answer.status === "running") {
    const gpus = answer.allocated_gpus?.length ? ` on GPU ${answer.allocated_gpus.join(", ")}` : "";
    const where = answer.allocated_worker_id ? ` of worker ${await named(answer.allocated_worker_id)}` : "";
    return [tell(`It would start now${gpus}${where}.`, "good")];
  }
  const first = answer.status === "blocked" ? "It would wait for an approval." : `It would wait at place ${answer.queue_position}.`;
  return [tell(first), ...answer.reasons.map((reason) => tell(`${reason.text}${reason.unblock ? ` To unblock: ${reason.unblock}` : ""}`, "why"))];
}

async function ask() {
  const number = ++asked;
  const body = fromForm();
  if (!body.config_name && !body.command) {
    forecast.replaceChildren(tell("Name a config or a command.", "empty"));
    return;
  }
  try {
    const answer = await call("POST", "/api/queue/submit", { ...body, dry_run: true });
    const lines = await outcome(answer);
    if (number === asked) forecast.replaceChildren(...lines);
  } catch (error) {
    if (number === asked) forecast.replaceChildren(tell(error.message, "refused"));
  }
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(ask, 350);
}

form.addEventListener("input", () => {
  toml.value = write(fromForm());
  told.textContent = HINT;
  soon();
});

toml.addEventListener("input", () => {
  try {
    toForm(read(toml.value));
    told.textContent = HINT;
    soon();
  } catch (error) {
    told.textContent = error.message;
  }
});

form.addEventListener("click", (event) => {
  const name = event.target.closest("[data-config]")?.dataset.config;
  if (!name) return;
  form.elements.config_name.value = name;
  if (form.elements.command) form.elements.command.value = "";
  form.dispatchEvent(new Event("input"));
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  send.disabled = true;
  try {
    const answer = await call("POST", "/api/queue/submit", fromForm());
    if (!answer.success) throw new Error(answer.reason);
    location.href = `/jobs/${answer.job_id}`;
  } catch (error) {
    say(error.message, true);
    send.disabled = false;
  }
});
