// Keys of all screens. A screen says in its markup what they act on: rows (`data-row`), the field that is searched with
// (`data-search`), what a letter presses (`data-key`), what leads one step back (`data-back`).

import { keep } from "./role";

export const LETTERS = [
  ["j, k or arrows", "next and previous row of a list"], ["x", "choose the row"], ["Enter", "open the row"], ["Esc", "close, or one step back"],
  ["/", "search"], ["?", "these keys"], ["Ctrl K or ⌘ K", "go to a screen, an order or a queue"],
] as const;

// Single letters can be turned off, for those who speak to their computer.
export const lettersAreOn = () => localStorage.getItem("orderplan.letters") !== "off";
export const turnLetters = (isOn: boolean) => keep("letters", isOn ? "" : "off");

const isTyping = (target: EventTarget | null) => target instanceof HTMLElement && (target.matches("input:not([type=checkbox]), select, textarea") || target.isContentEditable);
const inMain = <T extends HTMLElement = HTMLElement>(selector: string) => [...document.querySelectorAll<T>(`main ${selector}`)];
const handle = (row: Element) => row.querySelector<HTMLElement>("a[href], button:not(:disabled)");

function step(by: 1 | -1): boolean {
  const rows = inMain("[data-row]");
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = at < 0 ? rows[0] : rows[at + by];
  if (!next) return at >= 0;
  handle(next)?.focus();
  return true;
}

function choose(): boolean {
  const box = document.activeElement?.closest("[data-row]")?.querySelector<HTMLInputElement>("input[type=checkbox]");
  box?.click();
  return !!box;
}

function back(): boolean {
  const ways = inMain("[data-back]");
  ways.at(-1)?.click();
  return ways.length > 0;
}

function press(letter: string): boolean {
  const button = inMain(`[data-key="${CSS.escape(letter)}"]`).find((each) => !(each as HTMLButtonElement).disabled);
  button?.click();
  return !!button;
}

export function listen(open: (what: "palette" | "help") => void): () => void {
  const down = (event: KeyboardEvent) => {
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open("palette");
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (isTyping(event.target)) (event.target as HTMLElement).blur();
      else if (back()) event.preventDefault();
      return;
    }
    if (isTyping(event.target) || !lettersAreOn()) return;
    const done = event.key === "?" ? (open("help"), true)
      : event.key === "/" ? (inMain("[data-search]")[0]?.focus(), inMain("[data-search]").length > 0 || (open("palette"), true))
      : event.key === "j" ? step(1) : event.key === "k" ? step(-1) : event.key === "x" ? choose()
      : event.key.length === 1 && /[a-z]/.test(event.key) && press(event.key);
    if (done) event.preventDefault();
  };
  window.addEventListener("keydown", down);
  return () => window.removeEventListener("keydown", down);
}
