import { describe, expect, it } from "vitest";

import { GlassboxClient, type Schemas } from "../src/index.js";

/** A client of a server that answers each question as `answer` says, and what it was asked. */
function asked(answer: (query: URLSearchParams) => unknown) {
  const queries: string[] = [];
  const client = new GlassboxClient({
    fetch: (url, { signal }) => {
      signal?.throwIfAborted();
      const { searchParams } = new URL(url);
      queries.push(searchParams.toString());
      return Promise.resolve(Response.json(answer(searchParams)));
    },
  });
  return { client, queries };
}

async function all<T>(entries: AsyncIterable<T>): Promise<T[]> {
  const found = [];
  for await (const each of entries) found.push(each);
  return found;
}

type Kept = { request_id: string; sequence: number; timestamp: number };

/** As the server has it: the newest page by time, with what waits for the disk; older ones by place. */
function log(kept: readonly Kept[]) {
  return asked((query) => {
    const limit = Number(query.get("limit") ?? 100);
    const before = query.get("before");
    const found =
      before === null
        ? kept.toSorted((one, other) => other.timestamp - one.timestamp)
        : kept
            .filter(({ sequence }) => sequence > 0 && sequence < Number(before))
            .toSorted((one, other) => other.sequence - one.sequence);
    return found.slice(0, limit);
  });
}

describe("the log of predictions", () => {
  const stored = (sequence: number, timestamp = sequence): Kept => ({
    request_id: `r${sequence}`,
    sequence,
    timestamp,
  });
  const names = async (entries: AsyncIterable<Schemas["AuditEntry"]>) =>
    (await all(entries)).map(({ request_id }) => request_id);

  it.each([1, 2, 3, 7, 8, 1000])("is told once where %i are a page", async (limit) => {
    const { client } = log([1, 2, 3, 4, 5, 6, 7].map((each) => stored(each)));
    const expected = ["r7", "r6", "r5", "r4", "r3", "r2", "r1"];
    expect(await names(client.iterAudit({ limit }))).toEqual(expected);
  });

  it.each([2, 3, 4, 5])(
    "misses nothing where time and place differ, and %i are a page",
    async (limit) => {
      // The third was answered first and written last; one is on its way to the disk.
      const kept = [stored(1, 30), stored(2, 40), stored(3, 10), stored(4, 50), stored(5, 20)];
      const waiting = { request_id: "on its way", sequence: 0, timestamp: 60 };
      const { client } = log([...kept, waiting]);
      const found = await names(client.iterAudit({ limit }));
      expect(found.toSorted()).toEqual(["on its way", "r1", "r2", "r3", "r4", "r5"]);
    },
  );

  it("is asked with the filters of the caller, from the place that the caller names", async () => {
    const { client, queries } = log([1, 2, 3, 4].map((each) => stored(each)));
    const query = { limit: 2, before: 4, status: "success" as const };
    expect(await names(client.iterAudit(query))).toEqual(["r3", "r2", "r1"]);
    expect(queries).toEqual(["limit=2&before=4&status=success", "limit=2&before=2&status=success"]);
  });

  it("is asked for no further than its reader goes", async () => {
    const { client, queries } = log([1, 2, 3, 4].map((each) => stored(each)));
    for await (const { request_id } of client.iterAudit({ limit: 2 })) {
      if (request_id === "r4") break;
    }
    expect(queries).toHaveLength(2);
    const stopped = client.iterAudit({}, { signal: AbortSignal.abort() });
    await expect(stopped.next()).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("the rows of a study", () => {
  const rows = Array.from({ length: 5 }, (_, row) => ({ row }));
  const page = (query: URLSearchParams) => {
    const from = Number(query.get("offset") ?? 0);
    return rows.slice(from, from + Number(query.get("limit")));
  };

  it.each([1, 2, 5, 6])("come in order where %i are a page", async (limit) => {
    const { client } = asked((query) => ({
      pathways: page(query),
      tokens: page(query),
      n_rows: 5,
    }));
    expect(await all(client.iterStudyPathways("s", { limit, order: "q" }))).toEqual(rows);
    expect(await all(client.iterStudyTokens("s", { limit, offset: 2 }))).toEqual(rows.slice(2));
  });

  it("end where a page has none, whatever the count says", async () => {
    const { client, queries } = asked(() => ({ tokens: [], n_rows: 9 }));
    expect(await all(client.iterStudyTokens("s", { latent: "L1-2" }))).toEqual([]);
    expect(queries).toEqual(["latent=L1-2&limit=1000&offset=0"]);
  });
});
