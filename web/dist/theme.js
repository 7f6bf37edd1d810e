// The chosen theme, before the first paint; without a choice the system's is used, by CSS alone.
try {
  const theme = localStorage.getItem("naru.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the system's theme it is.
}
