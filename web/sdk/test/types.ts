/** What the compiler must accept and refuse; checked by `tsc`, never run. */
import { GlassboxClient, type Generated, type Schemas } from "../src/index.js";
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
  const nothing: Promise<undefined> = client.call("delete", "/v1/adapters/{name}", {
    path: { name: "a" },
  });
  const shadow = new ShadowSelfClient({ endpointName: "shadow-self" });
  const result: HiddenStateResult = await shadow.invokeWithHiddenStates("x");
  const vector: number[] | undefined = result.hiddenStates["layer_-1"]?.lastToken;
  keep(perToken, recent, moved, nothing, vector, shadow.estimateUncertainty(result));
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
  // @ts-expect-error: the body is missing
  await client.call("post", "/v1/verify", {});
  // @ts-expect-error: no such value of the query
  await client.call("get", "/api/v2/models/audit/recent", { query: { status: "maybe" } });
  // @ts-expect-error: it streams events, no JSON
  await client.call("get", "/api/v2/models/events", {});
  const shadow = new ShadowSelfClient({ endpointName: "x" });
  const { hiddenStates } = await shadow.invokeWithHiddenStates("x");
  // @ts-expect-error: the last token's vector is named lastToken
  keep(hiddenStates["layer_-1"]?.last_token);
}

/** What nobody uses is an error of its own. */
function keep(...values: unknown[]): number {
  return values.length;
}
