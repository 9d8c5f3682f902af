/** Puts a text on the clipboard. Over plain HTTP the browser's interface is missing, and it may refuse: the old way is tried. */
export async function copy(text: string): Promise<boolean> {
  try {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
      return true;
    }
  } catch {
    // Refused; the other way may be allowed.
  }
  const field = document.createElement("textarea");
  const before = document.activeElement;
  field.value = text;
  field.readOnly = true;
  field.className = "sr";
  // Beside what has the focus: a menu that closes when it is left stays open, and a dialog lets nothing else be selected.
  (before?.parentElement ?? document.body).append(field);
  field.select();
  let done = false;
  try {
    done = document.execCommand("copy");
  } catch {
    // Nothing else is left.
  }
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  return done;
}
