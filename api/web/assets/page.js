// Every page: live regions, buttons that act, the theme.
import { follow } from "./live.js";
import { listen } from "./act.js";
import { tick } from "./ages.js";
import { show } from "./log.js";

const THEMES = ["", "light", "dark"];

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "") + 1) % THEMES.length];
  if (next) {
    root.dataset.theme = next;
    localStorage.setItem("gpuyard.theme", next);
  } else {
    delete root.dataset.theme;
    localStorage.removeItem("gpuyard.theme");
  }
});

listen();
tick();
follow();
for (const card of document.querySelectorAll("[data-log]")) show(card);
