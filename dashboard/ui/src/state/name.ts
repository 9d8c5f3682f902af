/** The name of the person at this browser, as it was given last. The server has no log-in: it is what the person says. */
const KEY = "starling.name";

export function ownName(): string {
  try {
    return window.localStorage.getItem(KEY) ?? "";
  } catch {
    // Storage can be forbidden; the name is then asked for each time.
    return "";
  }
}

export function rememberName(name: string): void {
  try {
    window.localStorage.setItem(KEY, name);
  } catch {
    // As above.
  }
}
