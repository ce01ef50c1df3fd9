import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import * as sdk from "../src/index.js";
import { CLASSES } from "../src/errors.js";
import { errorOf, retryAfterS, streamError, transportError } from "../src/problems.js";

const PROBLEM = {
  type: "https://example.org/errors#text-too-long",
  title: "Text too long",
  status: 400,
  detail: "The text has 900 tokens; allowed: 512.",
  code: "text-too-long",
  request_id: "r-1",
  errors: [{ field: "prompt", message: "too long" }],
};

describe("an unsuccessful response", () => {
  it("is the error whose code a problem names, with its words", async () => {
    const error = await errorOf(Response.json(PROBLEM, { status: 400 }));
    expect(error).toBeInstanceOf(sdk.UsageError);
    expect(error).toMatchObject({
      name: "UsageError",
      code: "text-too-long",
      status: 400,
      requestId: "r-1",
      message: "The text has 900 tokens; allowed: 512.",
      fields: [{ field: "prompt", message: "too long" }],
    });
  });

  it("has our code also where the body is of OpenAI's shape", async () => {
    const body = { error: { message: "No model 'x'.", type: "t", code: "model_not_found" } };
    const headers = { "x-glassbox-error": "unknown-name" };
    expect(await errorOf(Response.json(body, { status: 404, headers }))).toMatchObject({
      name: "UnknownName",
      code: "unknown-name",
      message: "No model 'x'.",
    });
    expect(await errorOf(Response.json(body, { status: 404 }))).toMatchObject({
      name: "UnknownName",
      code: "unknown-name",
    });
  });

  it("names the wrong field also where the body is of OpenAI's shape", async () => {
    const message = "max_tokens: input should be greater than or equal to 0; it is -1.";
    const body = { error: { message, type: "t", param: "max_tokens", code: "invalid-value" } };
    const error = await errorOf(Response.json(body, { status: 400 }));
    expect(error).toMatchObject({ fields: [{ field: "max_tokens", message }] });
  });

  it.each([
    [401, "AccessDenied"],
    [403, "AccessDenied"],
    [404, "UsageError"],
    [408, "DeadlineExceeded"],
    [429, "QueueFull"],
    [500, "GlassboxError"],
    [502, "CapacityError"],
    [503, "CapacityError"],
    [504, "DeadlineExceeded"],
  ])("of status %i without a code is a %s that shows what was said", async (status, name) => {
    const error = await errorOf(new Response("<html>no</html>", { status }));
    expect(error.name).toBe(name);
    expect(error.message).toBe(`The server answered ${status}: <html>no</html>`);
  });

  it("keeps a code that the errors' tree does not have", async () => {
    const body = { ...PROBLEM, code: "body-too-large", status: 413 };
    expect(await errorOf(Response.json(body, { status: 413 }))).toMatchObject({
      name: "UsageError",
      code: "body-too-large",
    });
  });

  it("says when to come back, in seconds, whoever said it and how", async () => {
    const full = { ...PROBLEM, code: "queue-full", retry_after_s: 3 };
    expect((await errorOf(Response.json(full, { status: 429 }))).retryAfterS).toBe(3);
    expect(retryAfterS(new Headers({ "retry-after": "7" }))).toBe(7);
    const now = Date.parse("Sat, 21 Nov 2026 10:00:00 GMT");
    const at = (text: string) => retryAfterS(new Headers({ "retry-after": text }), now);
    expect(at("Sat, 21 Nov 2026 10:00:30 GMT")).toBe(30);
    expect(at("Sat, 21 Nov 2026 09:00:00 GMT")).toBe(0);
    expect(at("soon")).toBeUndefined();
    expect(retryAfterS(new Headers())).toBeUndefined();
  });
});

describe("what is thrown on the way", () => {
  const failed = (code: string) =>
    new TypeError("fetch failed", { cause: Object.assign(new Error("connect"), { code }) });

  it.each([
    ["ECONNREFUSED", "Unreachable", /No server answers at http:\/\/x/],
    ["ENOTFOUND", "Unreachable", /No server answers/],
    ["CERT_HAS_EXPIRED", "Unreachable", /CERT_HAS_EXPIRED/],
    ["ECONNRESET", "Unreachable", /broke off/],
    ["UND_ERR_HEADERS_TIMEOUT", "DeadlineExceeded", /in time/],
  ])("%s is %s", (code, name, words) => {
    const error = transportError(failed(code), "http://x");
    expect(error.name).toBe(name);
    expect(error.message).toMatch(words);
    expect(error.cause).toBeInstanceOf(TypeError);
  });

  it("is found beneath several addresses that were tried", () => {
    const each = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
    const error = new TypeError("fetch failed", { cause: new AggregateError([each]) });
    expect(transportError(error, "http://x").message).toMatch(/No server answers.*ECONNREFUSED/);
  });
});

describe("an error in a browser", () => {
  it.each(["Failed to fetch", "NetworkError when attempting to fetch resource.", "Load failed"])(
    "says that nobody answers, not that an answer broke off: %s",
    (words) => {
      const error = transportError(new TypeError(words), "http://x");
      expect(error.message).toMatch(/^No server answers at http:\/\/x .*another origin/);
    },
  );

  it("that breaks an answer off says so", () => {
    expect(transportError(new TypeError("network error"), "http://x").message).toMatch(/broke off/);
  });
});

describe("an error in the middle of a stream", () => {
  it("has the server's class and words", () => {
    const error = streamError({ code: "non-finite-output", message: "NaN" });
    expect(error).toBeInstanceOf(sdk.IntegrityError);
    expect(error).toMatchObject({ code: "non-finite-output", message: "NaN" });
    expect(streamError("words").message).toBe("words");
  });
});

describe("the package", () => {
  it("says its own version", () => {
    const url = new URL("../package.json", import.meta.url);
    const { version } = JSON.parse(readFileSync(url, "utf8")) as { version: string };
    expect(sdk.VERSION).toBe(version);
  });

  it("names every error by its class, in words that no bundler shortens", () => {
    for (const kind of Object.values(CLASSES)) {
      const short = class extends kind {};
      expect(new short("x").name).toBe(kind.name);
    }
  });

  it("exports every class that an error may have", () => {
    const known = new Set(Object.values(sdk));
    for (const kind of Object.values(CLASSES)) expect(known).toContain(kind);
  });
});
