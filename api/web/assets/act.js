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

export function listen() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-address]");
    if (button) act(button);
  });
}
