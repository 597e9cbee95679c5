// Light or dark: as the system has it, unless somebody says otherwise here.

import { h } from "./dom";
import type { View } from "./view";

const KEY = "apxm-theme";
const NEXT: Record<string, string> = { system: "light", light: "dark", dark: "system" };

export function themes(view: View): HTMLElement {
  let now = "system";
  try {
    now = NEXT[localStorage.getItem(KEY) ?? ""] ? localStorage.getItem(KEY)! : "system";
  } catch {
    // A file of its own may have no storage.
  }
  const button = h("button", { type: "button", class: "theme" });
  const apply = (): void => {
    if (now === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    button.textContent = `Theme: ${now}`;
    view.tell("theme");
  };
  button.addEventListener("click", () => {
    now = NEXT[now];
    try {
      localStorage.setItem(KEY, now);
    } catch {
      // as above
    }
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view.tell("theme"));
  apply();
  return button;
}
