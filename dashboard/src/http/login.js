// What the form does without: the colours that were chosen on the page, and going on when another tab has signed in.
const theme = (() => {
  try {
    return localStorage.getItem("starling.theme");
  } catch {
    return null;
  }
})();
if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;

document.addEventListener("visibilitychange", async () => {
  if (document.visibilityState !== "visible") return;
  try {
    const answer = await fetch("api/v1/session", { headers: { accept: "application/json" } });
    // The server sends who is signed in on to where they wanted.
    if (answer.ok) location.reload();
  } catch {
    // Not reached: the form says so when it is sent.
  }
});
