// Sets the colour scheme before the first paint. A file of its own because the CSP forbids inline scripts.
(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem("tandem-color-scheme");
  } catch {
    // Storage may be forbidden; the system's preference then decides.
  }
  var dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
