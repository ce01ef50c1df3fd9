/** What each route of the server takes and gives, read off its OpenAPI description by the compiler. */
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

/** What a route answers: its JSON, or nothing. */
export type Answer<M extends Method, P extends keyof paths> =
  Content<Operation<M, P>> extends { "application/json": infer A } ? A : undefined;

type IsCallable<O> = [O] extends [never]
  ? false
  : Content<O> extends { "application/json": unknown } | undefined
    ? O extends { requestBody: { content: infer C } }
      ? C extends { "application/json": unknown }
        ? true
        : false
      : true
    : false;

/** Paths that have such a method, and both take and give JSON. */
export type Path<M extends Method> = {
  [P in keyof paths]: IsCallable<Operation<M, P>> extends true ? P : never;
}[keyof paths];

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
