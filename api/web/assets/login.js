// Logging in: a password, or a token that becomes a log-in of its own. The cookie is one that no script can read.
const said = document.getElementById("said");

async function enter(form, address, options) {
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(address, { method: "POST", ...options });
    const data = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(data.detail ?? `The server answered ${answer.status}.`);
    location.replace(form.dataset.next);
  } catch (error) {
    said.textContent = error instanceof TypeError ? "The server cannot be reached." : error.message;
    said.dataset.state = "failed";
    button.disabled = false;
  }
}

document.getElementById("password").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const body = JSON.stringify({ username: form.username.value, password: form.password.value });
  enter(form, "/api/login", { headers: { "Content-Type": "application/json" }, body });
});

document.getElementById("token").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  enter(form, "/api/login/token", { headers: { Authorization: `Bearer ${form.token.value.trim()}` } });
});
