import { apiKey } from "./key";
import { Problem, problemOf, unreachable } from "./problem";

/** Call a route; anything but success is thrown as a `Problem` that reads as a sentence. */
export async function call(path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = {};
  const key = apiKey.get();
  if (key !== "") headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
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
  if (problem.status === 401) apiKey.ask();
  throw problem;
}

/** Call a route and read its JSON answer. */
export async function callJson<Answer>(
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<Answer> {
  const response = await call(path, body, signal);
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
