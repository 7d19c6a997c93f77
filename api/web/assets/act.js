// Buttons that act: <button data-method data-address data-body data-confirm>. Each is one call of the API, with the
// permissions of whoever is logged in; what it answered is said, and read aloud.
import { refresh } from "./live.js";

const said = document.getElementById("said");
const dialog = document.getElementById("confirm");
let timer = 0;

export function say(text, failed = false) {
  clearTimeout(timer);
  said.textContent = text;
  said.dataset.state = failed ? "failed" : "done";
  timer = setTimeout(() => delete said.dataset.state, 6000);
}

export function confirmed(text) {
  document.getElementById("confirm-words").textContent = text;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// The decoded answer; throws an Error with the API's own sentence.
export async function call(method, address, body) {
  const headers = { Accept: "application/json" };
  const token = document.querySelector("meta[name=csrf]")?.content;
  if (token) headers["X-CSRF-Token"] = token;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(address, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error("The server cannot be reached. Nothing was changed; try again.");
  }
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(data.detail ?? `The server answered ${answer.status}.`);
  return data;
}

async function act(button) {
  if (button.dataset.confirm && !(await confirmed(button.dataset.confirm))) return;
  button.disabled = true;
  try {
    const body = button.dataset.body ? JSON.parse(button.dataset.body) : undefined;
    await call(button.dataset.method, button.dataset.address, body);
    say(`${button.textContent.trim()}: done`);
  } catch (error) {
    say(error.message, true);
  } finally {
    button.disabled = false;
    refresh();
  }
}

// <form data-method data-address data-done>: its fields as the JSON body.
async function submit(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name) continue;
    if (field.type === "checkbox") body[field.name] = field.checked;
    else if (field.type === "number") body[field.name] = field.value === "" ? null : Number(field.value);
    else if (field.value !== "") body[field.name] = field.value;
  }
  try {
    await call(form.dataset.method, form.dataset.address, body);
    say(form.dataset.done ?? "Done");
  } catch (error) {
    say(error.message, true);
  }
  refresh();
}

async function copy(button) {
  const text = document.getElementById(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("The browser does not let pages copy here: mark the text and copy it by hand.", true);
  }
}

export function listen() {
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-address]")) return;
    event.preventDefault();
    submit(event.target);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-address]");
    if (button) act(button);
    const copied = event.target.closest("button[data-copy]");
    if (copied) copy(copied);
  });
}
