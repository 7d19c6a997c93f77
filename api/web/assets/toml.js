// As much TOML as a job description needs: strings, numbers, booleans, arrays of them, and [tables] of strings.
const BARE = /^[A-Za-z0-9_-]+$/;

export function write(body) {
  const lines = [];
  const tables = [];
  for (const [key, value] of Object.entries(body)) {
    if (value && typeof value === "object" && !Array.isArray(value)) tables.push([key, value]);
    else lines.push(`${key} = ${literal(value)}`);
  }
  for (const [key, table] of tables) {
    lines.push("", `[${key}]`, ...Object.entries(table).map(([name, value]) => `${BARE.test(name) ? name : literal(name)} = ${literal(value)}`));
  }
  return lines.join("\n").trim() + "\n";
}

function literal(value) {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  return JSON.stringify(value);
}

// Throws an Error that names the line.
export function read(text) {
  const found = {};
  let into = found;
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (!line || line.startsWith("#")) continue;
    const table = /^\[([A-Za-z0-9_-]+)\]\s*(?:#.*)?$/.exec(line);
    if (table) {
      into = found[table[1]] = {};
      continue;
    }
    const pair = /^(?:([A-Za-z0-9_-]+)|("(?:[^"\\]|\\.)*"))\s*=\s*(.+)$/.exec(line);
    if (!pair) throw new Error(`line ${index + 1}: not KEY = VALUE`);
    into[pair[1] ?? JSON.parse(pair[2])] = value(pair[3], index + 1);
  }
  return found;
}

function value(text, number) {
  // Single quotes are literal strings; comments go; a trailing comma is allowed. What is left is JSON.
  let plain = "";
  const token = /"(?:[^"\\]|\\.)*"|'[^']*'|#.*$|[^"'#]+/g;
  for (const [part] of text.matchAll(token)) {
    if (part.startsWith("#")) break;
    plain += part.startsWith("'") ? JSON.stringify(part.slice(1, -1)) : part.startsWith('"') ? part : part.replace(/,\s*\]/g, "]").replace(/(?<=\d)_(?=\d)/g, "");
  }
  try {
    return JSON.parse(plain.trim());
  } catch {
    throw new Error(`line ${number}: ${text.trim()} is no string, number, true, false or list`);
  }
}
