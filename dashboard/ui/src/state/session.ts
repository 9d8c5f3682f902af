/** Who is at this browser, of a server that has a log-in. */
import { computed, signal } from "@preact/signals";
import { BASE, below } from "../lib/base";

export interface Session {
  /** Null where nobody has to say who they are. */
  name: string | null;
  role: "viewer" | "operator" | "admin";
  /** It can be ended from here. */
  session: boolean;
}

/** Null until the server has said it. */
export const session = signal<Session | null>(null);

/** Why this person cannot acknowledge and silence; undefined for who can. */
export const barred = computed(() =>
  session.value?.role === "viewer" ? "Takes the role operator. Yours is viewer." : undefined,
);

/** Asks who it is. Who is nobody, or no longer somebody, is led to the log-in and back here afterwards. */
export async function lookWho(): Promise<void> {
  const answer = await fetch(`${BASE}/api/v1/session`).catch(() => null);
  if (answer?.status === 401) {
    const { pathname, search } = window.location;
    window.location.assign(`${BASE}/login?next=${encodeURIComponent(below(BASE, pathname) + search)}`);
  } else if (answer?.ok) session.value = await answer.json();
}

/** Ends the session of this browser. */
export async function signOut(): Promise<void> {
  await fetch(`${BASE}/logout`, { method: "POST" }).catch(() => null);
  await lookWho();
}
