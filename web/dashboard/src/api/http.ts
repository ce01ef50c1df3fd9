import { apiKey } from "./key";
import { keyless, Problem, problemOf, unreachable } from "./problem";

export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** Call a route; anything but success is thrown as a `Problem` that reads as a sentence. */
export async function call(
  path: string,
  body?: unknown,
  signal?: AbortSignal,
  method: Method = body === undefined ? "GET" : "POST",
): Promise<Response> {
  const headers: Record<string, string> = {};
  const key = apiKey.get();
  if (key !== "") headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
    });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw unreachable();
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status !== 401) throw problem;
  apiKey.ask();
  throw key === "" ? keyless(problem.code) : problem;
}

/** Call a route and read its JSON answer. */
export async function callJson<Answer>(
  path: string,
  body?: unknown,
  signal?: AbortSignal,
  method?: Method,
): Promise<Answer> {
  const response = await call(path, body, signal, method);
  try {
    return (await response.json()) as Answer;
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw new Problem(
      "The answer is not JSON",
      "Something between here and the server changed it.",
    );
  }
}

/** Where everything about registered models lives. */
export const MODELS = "/api/v2/models";

/** Where finished studies of pathways live. */
export const STUDIES = "/v1/pathways";

type Values = Record<string, string | number | null | undefined>;

/** A path below `MODELS` with the query's values that are there. */
export function modelsPath(path: string, values: Values = {}): string {
  return `${MODELS}${path}${query(values)}`;
}

/** A path below one study of pathways. */
export function studyPath(study: string, path = "", values: Values = {}): string {
  return `${STUDIES}/${encodeURIComponent(study)}${path}${query(values)}`;
}

function query(values: Values): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value != null && value !== "") given.set(name, String(value));
  }
  const said = given.toString();
  return said === "" ? "" : `?${said}`;
}
