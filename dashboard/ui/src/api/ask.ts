/** Asks the JSON endpoints. */
import { BASE } from "../lib/base";

/** What the server refused, in its words. */
class Refused extends Error {}

/** Why something could not be done, for people. */
export const problemOf = (error: unknown) =>
  error instanceof Refused ? error.message : "The server does not answer.";

/** What `path` answers. Parameters that are empty or undefined are left out. */
export async function ask<T>(
  path: string,
  parameters: Record<string, string | number | undefined>,
  signal: AbortSignal,
): Promise<T> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== "") query.set(name, String(value));
  }
  return answered<T>(
    await fetch(`${BASE}${path}?${query}`, { signal, headers: { accept: "application/json" } }),
  );
}

/** Changes something, with the fields of `body`. */
export async function change<T>(method: "POST" | "DELETE", path: string, body?: object): Promise<T> {
  const headers = { accept: "application/json", "content-type": "application/json" };
  return answered<T>(
    await fetch(BASE + path, { method, headers, ...(body && { body: JSON.stringify(body) }) }),
  );
}

async function answered<T>(response: Response): Promise<T> {
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body as T;
  // Prometheus's form has the text itself under `error`.
  const said = typeof body?.error === "string" ? body.error : body?.error?.message;
  throw new Refused(said ?? `The server answered ${response.status}.`);
}
