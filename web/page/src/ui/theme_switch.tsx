import { useState } from "preact/hooks";
import { Icon } from "./icon.tsx";

const themes = ["system", "light", "dark"] as const;
type Theme = (typeof themes)[number];
const icons = { system: "system", light: "sun", dark: "moon" } as const;

function current(): Theme {
  const { theme } = document.documentElement.dataset;
  return theme === "light" || theme === "dark" ? theme : "system";
}

/** Goes round: the system's, light, dark. `public/theme.js` reads the choice before the next first paint. */
export function ThemeSwitch() {
  const [theme, setTheme] = useState(current);
  const next = themes[(themes.indexOf(theme) + 1) % themes.length] ?? "system";
  const choose = () => {
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("naru.theme", next);
    } catch {
      // It lasts as long as the page then.
    }
    setTheme(next);
  };
  return (
    <button type="button" class="icon-button" onClick={choose} title={`Theme: ${theme}`}>
      <Icon name={icons[theme]} />
      <span class="hidden">{`Theme: ${theme}. Change to ${next}.`}</span>
    </button>
  );
}
