/** What the compiler must accept and refuse; checked by `tsc`, never run. */
import {
  GlassboxClient,
  type GenerateAsked,
  type Generated,
  type Method,
  type Path,
  type Schemas,
} from "../src/index.js";
import type { paths } from "../src/schema.js";
import { ShadowSelfClient, type HiddenStateResult } from "../src/sagemaker/index.js";

const client = new GlassboxClient();

export async function accepted(): Promise<void> {
  const one: Generated = await client.generate("x", { temperature: 0 });
  const perToken: number[] | null | undefined = one.entropies;
  const recent: Schemas["AuditEntry"][] = await client.call("get", "/api/v2/models/audit/recent", {
    query: { limit: 10, status: "error" },
  });
  const moved = await client.call("put", "/api/v2/models/versions/aliases/{alias}", {
    path: { alias: "champion" },
    body: { number: 2, reason: "better" },
  });
  const names = (await client.call("get", "/v1/models")).data.map(({ id }) => id);
  const nothing: Promise<undefined> = client.call("delete", "/v1/adapters/{name}", {
    path: { name: "a" },
  });
  const page: Promise<string> = client.call("get", "/v1/pathways/{study}/report", {
    path: { study: "s" },
  });
  for await (const entry of client.iterAudit({ status: "error" })) keep(entry.request_id);
  for await (const row of client.iterStudyPathways("s", { order: "q" })) keep(row.source);
  for await (const row of client.iterStudyTokens("s", { token: " Vienna" })) keep(row.latent);
  const shadow = new ShadowSelfClient({ endpointName: "shadow-self" });
  const result: HiddenStateResult = await shadow.invokeWithHiddenStates("x");
  const vector: number[] | undefined = result.hiddenStates["layer_-1"]?.lastToken;
  keep(perToken, recent, moved, names, nothing, page, vector, shadow.estimateUncertainty(result));
}

export async function refused(): Promise<void> {
  // @ts-expect-error: the endpoint's name is always given
  new ShadowSelfClient({ region: "eu-west-1" });
  // @ts-expect-error: no such field
  await client.generate("x", { maxTokens: 3 });
  // @ts-expect-error: no such route
  await client.call("get", "/v1/nothing", {});
  // @ts-expect-error: the route has another method
  await client.call("get", "/v1/verify", {});
  // @ts-expect-error: the name in the path is missing
  await client.call("get", "/v1/pathways/{study}", {});
  // @ts-expect-error: the same, with nothing at all
  await client.call("get", "/v1/pathways/{study}");
  // @ts-expect-error: the body is missing
  await client.call("post", "/v1/verify", {});
  // @ts-expect-error: no such value of the query
  await client.call("get", "/api/v2/models/audit/recent", { query: { status: "maybe" } });
  // @ts-expect-error: it streams events, no JSON
  await client.call("get", "/api/v2/models/events", {});
  // @ts-expect-error: no such order of pathways
  client.iterStudyPathways("s", { order: "size" });
  // @ts-expect-error: no such field of the query
  client.iterAudit({ limt: 3 });
  const shadow = new ShadowSelfClient({ endpointName: "x" });
  const { hiddenStates } = await shadow.invokeWithHiddenStates("x");
  // @ts-expect-error: the last token's vector is named lastToken
  keep(hiddenStates["layer_-1"]?.last_token);
}

/** What nobody uses is an error of its own. */
function keep(...values: unknown[]): number {
  return values.length;
}

/** Does not compile unless two types are the same. */
type Same<A, B> = [A, B] extends [B, A] ? true : never;

/** Every field of an object, never undefined or null. */
type Fields<T> = { [K in keyof T]-?: NonNullable<T[K]> };

/** What `generate` may be asked, as the routes take it: each field where the client puts it. */
type OfTheRoutes = Pick<
  Fields<Schemas["CompletionAsked"]>,
  "model" | "max_tokens" | "temperature" | "top_p" | "seed" | "stop"
> &
  Omit<Fields<Schemas["GlassboxAsked"]>, "entropies"> & {
    top_logprobs: Fields<Schemas["CompletionAsked"]>["logprobs"];
  };

/** The chat's fields of these names are no others. */
type Shared = "model" | "max_tokens" | "temperature" | "top_p" | "seed" | "stop" | "top_logprobs";

/** Routes by method, as `get /v1/models`. */
type Routes = {
  [P in keyof paths]: {
    [M in Method]: [NonNullable<paths[P][M]>] extends [never] ? never : `${M} ${P & string}`;
  }[Method];
}[keyof paths];

type Callable = { [M in Method]: `${M} ${Path<M>}` }[Method];

/** What `call` does not reach, and who does. */
type NotCalled =
  | "get /api/v2/models/events" // changes()
  // Functions beside the model are signed and shipped by Python's InterpClient.
  | "post /v1/techniques/runs"
  | "get /v1/techniques/runs/{run_id}/events"
  | "get /v1/techniques/runs/{run_id}/result";

export const AGREED: [
  Same<Fields<GenerateAsked>, { [K in keyof OfTheRoutes]: OfTheRoutes[K] }>,
  Same<Pick<OfTheRoutes, Shared>, Pick<Fields<Schemas["ChatAsked"]>, Shared>>,
  Same<Exclude<Routes, Callable>, NotCalled>,
] = [true, true, true];
