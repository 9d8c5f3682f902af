/** Asks the JSON endpoints. */

/** What the server refused, in its words. */
export class Refused extends Error {}

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
  const response = await fetch(`${path}?${query}`, { signal, headers: { accept: "application/json" } });
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body as T;
  throw new Refused(body?.error?.message ?? `The server answered ${response.status}.`);
}
