// Lay new HTML over old: elements with the same id are kept and changed in place, so that what a person is doing
// (focus, a ticked box, an open menu, a scrolled table) is not disturbed.

export function lay(root, html) {
  const next = document.createElement("template");
  next.innerHTML = html; // from our own server, which escapes everything
  children(root, next.content);
}

function children(old, next) {
  const known = new Map();
  for (const child of old.children) if (child.id) known.set(child.id, child);
  let at = old.firstChild;
  for (const wanted of [...next.childNodes]) {
    const same = match(at, wanted, known);
    if (!same) {
      old.insertBefore(wanted, at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    change(same, wanted);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function match(at, wanted, known) {
  if (wanted.id && known.has(wanted.id)) return known.get(wanted.id);
  if (!at || at.nodeType !== wanted.nodeType || at.nodeName !== wanted.nodeName) return null;
  return (at.id || "") === (wanted.id || "") ? at : null;
}

function change(old, next) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE || old.isEqualNode(next) || "keep" in old.dataset) return;
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !(name === "open" && old.matches("details, dialog"))) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  children(old, next);
}
