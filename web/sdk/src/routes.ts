/** What each route of the server takes and gives, read off its OpenAPI description by the compiler. */
import type { CallOptions } from "./http.js";
import type { components, paths } from "./schema.js";

/** Shapes of requests and answers, by their names in the reference. */
export type Schemas = components["schemas"];

/** Methods of the routes. */
export type Method = "get" | "post" | "put" | "delete";

type Operation<M extends Method, P extends keyof paths> = NonNullable<paths[P][M]>;

type Content<O> = O extends { responses: infer R }
  ? R extends { 200: { content: infer C } } | { 201: { content: infer C } }
    ? C
    : undefined
  : never;

type Read<C> = C extends { "application/json": infer A }
  ? A
  : C extends undefined
    ? undefined
    : Exclude<keyof C, "text/event-stream"> extends `text/${string}`
      ? [Exclude<keyof C, "text/event-stream">] extends [never]
        ? never
        : string
      : never;

/** What a route answers: its JSON, a text, or nothing. */
export type Answer<M extends Method, P extends keyof paths> = Read<Content<Operation<M, P>>>;

type IsCallable<O> = [O] extends [never]
  ? false
  : [Read<Content<O>>] extends [never]
    ? false
    : O extends { requestBody: { content: infer C } }
      ? C extends { "application/json": unknown }
        ? true
        : false
      : true;

/** Paths that have such a method, take JSON if anything, and do not answer with events or bytes. */
export type Path<M extends Method> = {
  [P in keyof paths]: IsCallable<Operation<M, P>> extends true ? P : never;
}[keyof paths];

type TextPath = {
  [P in Path<"get"> | Path<"post">]: string extends Answer<"get" | "post", P> ? P : never;
}[Path<"get"> | Path<"post">];

/** Routes that answer with a text: the compiler holds the list to the description. */
const TEXTS = {
  "/metrics": true,
  "/v1/pathways/{study}/report": true,
  "/v1/load_lora_adapter": true,
  "/v1/unload_lora_adapter": true,
} satisfies Record<TextPath, true>;

/** Whether a route answers with a text. */
export function givesText(path: string): boolean {
  return path in TEXTS;
}

/**
 * What may be sent again although it may have been done: doing it twice is what doing it once is.
 * A test holds the list to the Python client's.
 */
const AGAIN: ReadonlySet<string> = new Set<Path<"post">>([
  "/api/v2/models/labels",
  "/api/v2/models/predict",
  "/api/v2/models/predict/batch",
  "/invocations",
  "/v1/adapters",
  "/v1/chat/completions",
  "/v1/classify",
  "/v1/completions",
  "/v1/lens",
  "/v1/states",
  "/v1/verify",
]);

/** Whether a request must not be done twice, as moves of aliases and rollouts. */
export function isOnce(method: string, path: string): boolean {
  return method !== "GET" && !(method === "POST" && AGAIN.has(path.replace(/\?.*/s, "")));
}

type InPath<O> = O extends { parameters: { path: infer X } } ? { path: X } : { path?: undefined };

type InQuery<O> = O extends { parameters: { query?: infer X } }
  ? [X] extends [undefined]
    ? { query?: undefined }
    : { query?: X }
  : { query?: undefined };

type InBody<O> = O extends { requestBody: { content: { "application/json": infer B } } }
  ? { body: B }
  : { body?: undefined };

/** What a call of a route needs. */
export type Asked<M extends Method, P extends keyof paths> = InPath<Operation<M, P>> &
  InQuery<Operation<M, P>> &
  InBody<Operation<M, P>>;

/** The same with the options of the call; a route that needs nothing may be called with nothing. */
export type Rest<M extends Method, P extends keyof paths> =
  Partial<Asked<M, P>> extends Asked<M, P>
    ? [asked?: Asked<M, P>, options?: CallOptions]
    : [asked: Asked<M, P>, options?: CallOptions];

type Values = Readonly<Record<string, unknown>>;

/** A path with its names and query filled in; values that are not there are left out. */
export function filled(path: string, names: Values = {}, query: Values = {}): string {
  const whole = path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(String(names[name])),
  );
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each != null) pairs.append(name, String(each));
    }
  }
  const text = pairs.toString();
  return text === "" ? whole : `${whole}?${text}`;
}
