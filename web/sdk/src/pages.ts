/** How long lists are gone through, page by page; as the Python client does. Sends nothing. */
import type { Asked, Schemas } from "./routes.js";

/** Which predictions: as `audit/recent` takes it; `limit` is for each page, 1000. */
export type AuditQuery = NonNullable<Asked<"get", "/api/v2/models/audit/recent">["query"]>;

/** Which pathways of a study; `limit` is for each page, 1000. */
export type PathwayQuery = NonNullable<Asked<"get", "/v1/pathways/{study}/pathways">["query"]>;

/** Which token associations of a study; `limit` is for each page, 1000. */
export type TokenQuery = NonNullable<Asked<"get", "/v1/pathways/{study}/tokens">["query"]>;

/** Most rows that the server gives at once. */
const MOST_ROWS = 1000;

/** Behind every place of the log, and no further than numbers here are exact. */
const BEHIND_ALL = Number.MAX_SAFE_INTEGER;

/**
 * The log of predictions, newest first, each of them once.
 *
 * The newest page is in order of time and may hold predictions that are not in the durable log yet;
 * older pages are cut by place in that log. So the first page gives what is on its way alone, and the
 * log is read from its end: nothing is missed or told twice where both orders differ.
 */
export async function* auditEntries(
  query: AuditQuery,
  ask: (query: AuditQuery) => Promise<Schemas["AuditEntry"][]>,
): AsyncGenerator<Schemas["AuditEntry"], void, undefined> {
  const limit = query.limit ?? MOST_ROWS;
  let before = query.before ?? null;
  const told = new Set<string>();
  for (;;) {
    const page = await ask({ ...query, limit, before });
    const isLast = page.length < limit;
    const isNewest = before === null && !isLast;
    for (const entry of page) {
      if (told.has(entry.request_id) || (isNewest && (entry.sequence ?? 0) > 0)) continue;
      if (isNewest) told.add(entry.request_id);
      yield entry;
    }
    if (isLast) return;
    before = isNewest ? BEHIND_ALL : (page.at(-1)?.sequence ?? null);
  }
}

/** The rows of a finished study. */
export async function* studyRows<Q extends { limit?: number; offset?: number }, T>(
  query: Q,
  ask: (query: Q) => Promise<{ rows: readonly T[]; nRows: number }>,
): AsyncGenerator<T, void, undefined> {
  const limit = query.limit ?? MOST_ROWS;
  for (let offset = query.offset ?? 0; ;) {
    const { rows, nRows } = await ask({ ...query, limit, offset });
    yield* rows;
    offset += rows.length;
    if (rows.length === 0 || offset >= nRows) return;
  }
}
