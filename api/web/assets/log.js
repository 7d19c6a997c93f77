// The log of a job: its last lines, then what comes; earlier pieces on demand. However long it is, the page holds at
// most MOST lines. Follows while the end is in view; scrolling up lets it be.
const MOST = 10000;
const FIRST = 1000;
const COLOUR = /\x1b\[([0-9;]*)m/g;
const OTHER = /\x1b(?:\[[0-9;?]*[A-Za-ln-z]|\][^\x07]*\x07|[()][A-Z0-9])/g;

export function show(card) {
  new Log(card);
}

class Log {
  constructor(card) {
    this.job = card.dataset.log;
    this.box = card.querySelector("[data-log-lines]");
    this.earlier = card.querySelector("[data-log-earlier]");
    this.empty = card.querySelector("[data-log-empty]");
    this.followButton = card.querySelector("[data-log-follow]");
    this.select = card.querySelector("[data-log-attempt]");
    this.search = card.querySelector("[data-log-search]");
    this.found = card.querySelector("[data-log-found]");
    this.waiting = [];
    this.start = null; // byte offset of the first line that is shown
    this.end = null; // and behind the last that came
    this.done = false;
    this.follows = true;
    this.top = 0; // where it was scrolled to, to tell up from down
    this.hit = -1;
    this.box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.earlier.addEventListener("click", () => this.back());
    this.followButton.addEventListener("click", () => this.follow(!this.follows));
    this.search.addEventListener("input", () => this.look(0));
    this.search.addEventListener("keydown", (event) => event.key === "Enter" && this.look(1));
    card.querySelector("[data-log-next]").addEventListener("click", () => this.look(1));
    this.select.addEventListener("change", () => this.open(Number(this.select.value)));
    document.addEventListener("changed", () => this.attempts());
    // A browser has few connections to one server: a tab that nobody sees gives its own back.
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stream?.close() : this.listen()));
    new ResizeObserver(() => this.follow(this.follows)).observe(this.box);
    this.attempts();
  }

  // The attempts that the page lists; the newest one is shown unless another was chosen.
  attempts() {
    const numbers = [...document.querySelectorAll("[data-attempt]")].map((row) => Number(row.dataset.attempt));
    const newest = numbers.at(-1);
    if (!newest || numbers.length === this.select.length) return;
    const chosen = this.select.length && this.select.selectedIndex < this.select.length - 1;
    for (const number of numbers.slice(this.select.length)) this.select.add(new Option(`${number}`, `${number}`));
    if (!chosen) {
      this.select.value = `${newest}`;
      this.open(newest);
    }
  }

  open(attempt) {
    this.stream?.close();
    for (const line of [...this.box.querySelectorAll(".line")]) line.remove();
    this.attempt = attempt;
    this.start = null;
    this.end = null;
    this.done = false;
    this.earlier.hidden = true;
    this.empty.hidden = false;
    this.listen();
  }

  // From the last line that came, if one has.
  listen() {
    this.stream?.close();
    if (this.done || document.hidden || !this.attempt) return;
    const from = this.end === null ? `tail=${FIRST}` : `offset=${this.end}`;
    this.stream = new EventSource(`/api/jobs/${this.job}/logs/stream?attempt=${this.attempt}&${from}`);
    this.stream.onmessage = (event) => this.add(event.data, Number(event.lastEventId));
    this.stream.addEventListener("done", () => {
      this.done = true;
      this.stream.close();
    });
  }

  add(text, after) {
    if (this.start === null) {
      this.start = after - new TextEncoder().encode(text).length - 1;
      this.earlier.hidden = this.start <= 0;
    }
    this.end = after;
    this.waiting.push([text, after]);
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = undefined;
    const lines = this.waiting.splice(0).slice(-MOST);
    const added = lines.map(([text, after]) => line(text, after));
    this.empty.hidden = true;
    this.box.append(...added);
    const extra = this.box.childElementCount - 2 - MOST;
    if (extra > 0 && this.follows) this.drop(extra);
    if (this.follows) this.box.scrollTop = this.box.scrollHeight;
    this.searchToo(added);
  }

  drop(count) {
    let first = this.empty.nextElementSibling;
    for (; count > 0 && first; count -= 1) {
      const next = first.nextElementSibling;
      this.start = Number(first.dataset.after);
      first.remove();
      first = next;
    }
    this.earlier.hidden = false;
  }

  async back() {
    this.follow(false);
    const address = `/api/jobs/${this.job}/logs?attempt=${this.attempt}&before=${this.start}`;
    const answer = await fetch(address);
    if (!answer.ok) return;
    const piece = await answer.json();
    const height = this.box.scrollHeight;
    const texts = piece.logs.replace(/\n$/, "").split("\n");
    this.empty.after(...(piece.logs ? texts.map((text) => line(text, piece.offset)) : []));
    this.start = piece.offset;
    this.earlier.hidden = piece.offset <= 0;
    this.box.scrollTop += this.box.scrollHeight - height;
  }

  // Up lets it be, the end follows again. What only grew (lines get their height when they come into view) does not.
  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    if (scrollHeight - scrollTop - clientHeight < 40) this.follow(true, false);
    else if (scrollTop < this.top) this.follow(false, false);
    else if (this.follows) this.box.scrollTop = scrollHeight;
    this.top = this.box.scrollTop;
  }

  follow(on, move = true) {
    this.follows = on;
    this.followButton.setAttribute("aria-pressed", String(on));
    if (on && move) this.box.scrollTop = this.box.scrollHeight;
  }

  mark(lines) {
    const wanted = this.search.value.toLowerCase();
    for (const element of lines) {
      element.classList.toggle("hit", wanted !== "" && element.textContent.toLowerCase().includes(wanted));
    }
    return [...this.box.querySelectorAll(".line.hit")];
  }

  tell(hits) {
    const place = hits.length ? `${this.hit + 1} of ${hits.length}` : "not found";
    this.found.textContent = this.search.value ? place : "";
  }

  // What came since somebody searched counts as well; the first that fits is shown.
  searchToo(added) {
    if (!this.search.value) return;
    const hits = this.mark(added);
    this.hit = hits.findIndex((hit) => hit.classList.contains("here"));
    if (this.hit < 0 && hits.length) this.look(0);
    else this.tell(hits);
  }

  look(step) {
    const hits = this.mark(this.box.querySelectorAll(".line"));
    for (const element of this.box.querySelectorAll(".here")) element.classList.remove("here");
    this.hit = hits.length ? (step ? (this.hit + step) % hits.length : hits.length - 1) : -1;
    this.tell(hits);
    if (this.hit >= 0) {
      this.follow(false);
      hits[this.hit].classList.add("here");
      hits[this.hit].scrollIntoView({ block: "center" });
    }
  }
}

// One line. What a progress bar wrote over is left out, colours become classes; nothing is ever read as HTML.
export function line(text, after) {
  const element = document.createElement("div");
  element.className = "line";
  element.dataset.after = `${after}`;
  const shown = text.replace(/\r+$/, "");
  const last = shown.slice(shown.lastIndexOf("\r") + 1).replace(OTHER, "");
  if (!last.includes("\x1b")) {
    element.textContent = last;
    return element;
  }
  let classes = [];
  let at = 0;
  for (const match of last.matchAll(COLOUR)) {
    put(element, last.slice(at, match.index), classes);
    at = match.index + match[0].length;
    classes = styled(classes, match[1]);
  }
  put(element, last.slice(at), classes);
  return element;
}

function put(element, text, classes) {
  if (!text) return;
  if (!classes.length) {
    element.append(text);
    return;
  }
  const span = document.createElement("span");
  span.className = classes.join(" ");
  span.textContent = text;
  element.append(span);
}

function styled(classes, codes) {
  let now = classes;
  for (const code of (codes || "0").split(";").map(Number)) {
    if (code === 0) now = [];
    else if (code === 1) now = [...now, "ansi-bold"];
    else if (code === 39) now = now.filter((name) => !/^ansi-\d/.test(name));
    else if (code >= 30 && code <= 37) now = [...now.filter((name) => !/^ansi-\d/.test(name)), `ansi-${code - 30}`];
    else if (code >= 90 && code <= 97) now = [...now.filter((name) => !/^ansi-\d/.test(name)), `ansi-${code - 90}`];
  }
  return now;
}

