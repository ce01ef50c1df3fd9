import { useEffect, useState } from "react";

import { browserStorage } from "../api/storage";
import { Button } from "../ui/Button";

const themes = ["system", "light", "dark"] as const;
type Theme = (typeof themes)[number];

const STORED_AS = "glassbox.theme";

function stored(): Theme {
  return themes.find((theme) => theme === browserStorage.get(STORED_AS)) ?? "system";
}

/** Goes round through the system's theme, light and dark; remembers the choice in this browser. */
export function ThemeButton() {
  const [theme, setTheme] = useState<Theme>(stored);
  useEffect(() => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    browserStorage.set(STORED_AS, theme);
  }, [theme]);
  const next = themes[(themes.indexOf(theme) + 1) % themes.length] ?? "system";
  return (
    <Button onClick={() => setTheme(next)} title={`Change to: ${next}`}>
      Theme: {theme}
    </Button>
  );
}
