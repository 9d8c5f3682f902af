/** Who is signed in, and the way out. */
import { session, signOut } from "../state/session";

export function Who() {
  const { name, role, session: own } = session.value ?? {};
  return name ? (
    <div>
      <dt title={role}>{name}</dt>
      <dd>
        {own && (
          <button type="button" class="lk" onClick={signOut}>
            Sign out
          </button>
        )}
      </dd>
    </div>
  ) : null;
}
