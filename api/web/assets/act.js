// Buttons that act: <button data-method data-address data-body data-confirm>. Each is one call of the API, with the
// permissions of whoever is logged in; what it answered is said, and read aloud.

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

// What a person types in answer to `text`; null when it is left.
export function asked(text) {
  const input = document.getElementById("ask-text");
  document.getElementById("ask-words").textContent = text;
  input.value = "";
  const box = document.getElementById("ask");
  box.returnValue = "no";
  box.showModal();
  return new Promise((resolve) => {
    box.addEventListener("close", () => resolve(box.returnValue === "yes" && input.value.trim() ? input.value.trim() : null), { once: true });
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

// What is shown once: the named fields of an answer, each with a button to copy it.
function reveal(names, answer) {
  const box = document.getElementById("reveal");
  const list = document.getElementById("reveal-list");
  list.replaceChildren();
  for (const name of names.split(" ")) {
    const term = document.createElement("dt");
    const value = document.createElement("dd");
    const code = document.createElement("code");
    const button = document.createElement("button");
    term.textContent = name.replaceAll("_", " ");
    code.textContent = answer[name];
    code.id = `reveal-${name}`;
    button.type = "button";
    button.textContent = "Copy";
    button.dataset.copy = code.id;
    value.append(code, " ", button);
    list.append(term, value);
  }
  const wait = document.getElementById("reveal-wait");
  wait.hidden = !answer.worker_id;
  if (answer.worker_id) connected(answer.worker_id, wait);
  box.showModal();
}

// Until a new worker has connected, or the dialog is closed.
async function connected(id, line) {
  delete line.dataset.state;
  line.textContent = "Waiting until it connects…";
  while (document.getElementById("reveal").open || line.textContent.startsWith("Waiting")) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (!document.getElementById("reveal").open) return;
    const worker = await call("GET", `/api/admin/workers/${id}`).catch(() => null);
    if (worker && ["idle", "busy"].includes(worker.status)) {
      line.dataset.state = "done";
      line.textContent = `Connected: ${worker.gpu_count ?? 0} GPUs. It takes jobs now.`;
      return;
    }
  }
}

function after(element, answer, otherwise) {
  if (element.dataset.reveal) reveal(element.dataset.reveal, answer);
  if (element.dataset.words) say(element.dataset.words.replace(/\{(\w+)\}/g, (_, name) => answer[name]));
  else say(otherwise);
}

async function act(button) {
  const body = button.dataset.body ? JSON.parse(button.dataset.body) : undefined;
  let filled = body;
  if (button.dataset.ask) {
    const text = await asked(button.dataset.confirm);
    if (text === null) return;
    filled = { ...body, [button.dataset.ask]: text };
  } else if (button.dataset.confirm && !(await confirmed(button.dataset.confirm))) return;
  button.disabled = true;
  try {
    const answer = await call(button.dataset.method, button.dataset.address, filled);
    after(button, answer, `${button.textContent.trim()}: done`);
    if (button.dataset.then) location.replace(button.dataset.then);
  } catch (error) {
    say(error.message, true);
  } finally {
    button.disabled = false;
  }
}

// <form data-method data-address data-done>: its fields as the JSON body. An emptied number is null.
async function submit(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled) continue;
    if (field.type === "checkbox") body[field.name] = field.checked;
    else if (field.type === "number") {
      if (field.value !== "") body[field.name] = Number(field.value);
      else if (field.defaultValue !== "" || field.placeholder === "no limit") body[field.name] = null;
    } else if (field.value !== "" && field.dataset.kind === "pairs") {
      body[field.name] = Object.fromEntries(field.value.split(",").map((pair) => pair.split("=").map((part) => part.trim())).filter(([key]) => key));
    } else if (field.value !== "") body[field.name] = field.value;
    else if (field.dataset.kind === "nullable") body[field.name] = null;
  }
  try {
    const answer = await call(form.dataset.method, form.dataset.address, body);
    after(form, answer, form.dataset.done ?? "Done");
    if (form.dataset.reveal) form.reset();
  } catch (error) {
    say(error.message, true);
  }
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
    const opener = event.target.closest("button[data-open]");
    if (opener) document.getElementById(opener.dataset.open).showModal();
    const copied = event.target.closest("button[data-copy]");
    if (copied) copy(copied);
  });
}
