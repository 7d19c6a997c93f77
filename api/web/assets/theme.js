// Before the first paint, so that nobody sees the wrong colours flash.
const chosen = localStorage.getItem("gpuyard.theme");
if (chosen) document.documentElement.dataset.theme = chosen;
