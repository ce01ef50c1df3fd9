import { expect, test } from "vitest";

import { asProblem, Problem, problemOf } from "../problem";

function answer(status: number, body: string, headers: Record<string, string> = {}): Response {
  return new Response(body, { status, headers });
}

test("problem+json becomes its own sentence with the code", async () => {
  const body = JSON.stringify({
    title: "Too large",
    detail: "The body has 11 MB.",
    code: "too-large",
  });
  const problem = await problemOf(answer(413, body));
  expect(problem.title).toBe("The request is too large");
  expect(problem.message).toBe("The body has 11 MB.");
  expect(problem.code).toBe("too-large");
});

test("OpenAI's shape is read as well", async () => {
  const body = JSON.stringify({ error: { message: "No model 'x'.", code: "unknown-name" } });
  const problem = await problemOf(answer(404, body));
  expect(problem.message).toBe("No model 'x'.");
  expect(problem.code).toBe("unknown-name");
});

test("a busy server says when to come back, once", async () => {
  const headers = { "Retry-After": "3" };
  const said = await problemOf(answer(429, '{"detail":"64 requests wait."}', headers));
  expect(said.message).toBe("64 requests wait. Try again in about 3 s.");
  const twice = await problemOf(answer(429, '{"detail":"Full. Try again in about 2 s."}', headers));
  expect(twice.message).toBe("Full. Try again in about 2 s.");
});

test("an answer that is no JSON is still a sentence", async () => {
  const problem = await problemOf(answer(502, "<html>"));
  expect(problem.title).toBe("The server answered 502");
  expect(problem.message).toBe("It gave no reason.");
});

test("stopping is no problem, a broken connection is", () => {
  expect(asProblem(new DOMException("stopped", "AbortError"))).toBeNull();
  expect(asProblem(new TypeError("network error"))?.code).toBe("unreachable");
  const own = new Problem("a", "b");
  expect(asProblem(own)).toBe(own);
});
