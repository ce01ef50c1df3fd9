import type { ServerResponse } from "node:http";

import { afterEach, describe, expect, it, vi } from "vitest";

import { GlassboxClient, type ClientOptions } from "../src/index.js";
import { completion, chunks, eventStream } from "./answers.js";
import { json, running, type Handler, type Running } from "./server.js";

const open: Running[] = [];

async function served(
  handle: Handler,
  options: ClientOptions = {},
): Promise<{ server: Running; client: GlassboxClient }> {
  const server = await running(handle);
  open.push(server);
  const client = new GlassboxClient({ url: server.url, retries: { n: 2 }, ...options });
  return { server, client };
}

afterEach(async () => {
  vi.unstubAllEnvs();
  await Promise.all(open.splice(0).map((each) => each.close()));
});

const FULL = { code: "queue-full", detail: "Too many wait.", status: 429 };
const NONE = { object: "list", data: [] };

describe("a full server", () => {
  it("is asked again until there is a success", async () => {
    let n = 0;
    const { server, client } = await served((_, response) =>
      ++n < 3 ? json(response, FULL, 429, { "retry-after": "0.01" }) : json(response, NONE),
    );
    await expect(client.models()).resolves.toEqual([]);
    expect(server.seen).toHaveLength(3);
  });

  it("that names no wait, as by 0, is not asked again at once", async () => {
    let n = 0;
    const { client } = await served((_, response) =>
      ++n < 2 ? json(response, FULL, 429, { "retry-after": "0" }) : json(response, NONE),
    );
    const began = performance.now();
    await expect(client.models()).resolves.toEqual([]);
    expect(performance.now() - began).toBeGreaterThan(245);
  });

  it("is given up after so many times, with the last error", async () => {
    const { server, client } = await served((_, response) =>
      json(response, FULL, 429, { "retry-after": "0.01" }),
    );
    await expect(client.models()).rejects.toMatchObject({
      name: "QueueFull",
      retryAfterS: 0.01,
      message: "Too many wait.",
    });
    expect(server.seen).toHaveLength(3);
  });

  it("is asked as often as by default where the number is given as undefined", async () => {
    const retries = { n: undefined } as unknown as { n: number };
    const answer = (_: unknown, response: ServerResponse) =>
      json(response, FULL, 429, { "retry-after": "0.01" });
    const { server, client } = await served(answer, { retries });
    await expect(client.models()).rejects.toMatchObject({ name: "QueueFull" });
    expect(server.seen).toHaveLength(5);
  });

  it("that asks for a longer wait than allowed gets no repetition", async () => {
    const { server, client } = await served((_, response) =>
      json(response, FULL, 503, { "retry-after": "31" }),
    );
    await expect(client.models()).rejects.toMatchObject({ retryAfterS: 31 });
    expect(server.seen).toHaveLength(1);
  });

  it("gets no request twice that it may have begun and must not do twice", async () => {
    let answer: object = { code: "replica-lost", status: 503 };
    const { server, client } = await served((_, response) =>
      json(response, answer, 503, { "retry-after": "0.01" }),
    );
    const path = { rollout_id: "r1", verb: "promote" };
    const unload = () => client.unloadAdapter("one");
    const move = () =>
      client.call("post", "/api/v2/models/rollouts/{rollout_id}/promote", { path, body: {} });
    await expect(unload()).rejects.toMatchObject({ code: "replica-lost" });
    await expect(move()).rejects.toMatchObject({ code: "replica-lost" });
    expect(server.seen).toHaveLength(2);
    await expect(client.models()).rejects.toMatchObject({ code: "replica-lost" });
    expect(server.seen).toHaveLength(5);
    answer = FULL;
    await expect(unload()).rejects.toMatchObject({ code: "queue-full" });
    expect(server.seen).toHaveLength(8);
  });

  it("is not waited for once the call is given up", async () => {
    const { server, client } = await served((_, response) =>
      json(response, FULL, 503, { "retry-after": "20" }),
    );
    const reason = new Error("enough");
    const signal = AbortSignal.timeout(50);
    await expect(client.models({ signal })).rejects.toMatchObject({ name: "TimeoutError" });
    await expect(client.models({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(server.seen).toHaveLength(1);
  });
});

describe("a call", () => {
  it.each([400, 401, 500])("that is answered with %i is not repeated", async (status) => {
    const { server, client } = await served((_, response) => json(response, {}, status));
    await expect(client.models()).rejects.toMatchObject({ status });
    expect(server.seen).toHaveLength(1);
  });

  it("tells the server how long it is waited for, and carries the key", async () => {
    const { server, client } = await served((_, response) => json(response, NONE), {
      key: "gb_secret",
      timeoutS: 7,
    });
    await client.models();
    await client.models({ timeoutS: 0.5 });
    expect(server.seen.map(({ headers }) => headers["x-request-timeout"])).toEqual(["7", "0.5"]);
    expect(server.seen[0]?.headers.authorization).toBe("Bearer gb_secret");
  });

  it("takes the key of the environment", async () => {
    vi.stubEnv("GLASSBOX_API_KEY", "gb_environment");
    const { server, client } = await served((_, response) => json(response, NONE));
    await client.models();
    expect(server.seen[0]?.headers.authorization).toBe("Bearer gb_environment");
  });

  it("that gets no answer in time says so", async () => {
    const { client } = await served(() => undefined, { timeoutS: 0.05 });
    await expect(client.models()).rejects.toMatchObject({ name: "DeadlineExceeded" });
    await expect(client.health()).resolves.toEqual({ live: false, ready: false });
  });

  it("may take longer than a timer can count", async () => {
    const { client } = await served(
      (_, response) => void setTimeout(() => json(response, NONE), 100),
      { timeoutS: 3_000_000 },
    );
    await expect(client.models()).resolves.toEqual([]);
  });

  it("that its owner gives up throws the owner's reason", async () => {
    const { client } = await served(() => undefined);
    const owner = new AbortController();
    setTimeout(() => owner.abort(new Error("the user left")), 30);
    await expect(client.models({ signal: owner.signal })).rejects.toThrow("the user left");
    await expect(client.models({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: "AbortError",
    });
  });

  it("whose answer breaks off says so", async () => {
    const { client } = await served((_, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("{");
      setTimeout(() => response.destroy(), 10);
    });
    await expect(client.models()).rejects.toMatchObject({
      name: "Unreachable",
      message: expect.stringMatching(/broke off/) as string,
    });
  });

  it("of an address where nobody listens names it, after the repetitions", async () => {
    const { server } = await served(() => undefined);
    await server.close();
    const client = new GlassboxClient({ url: `${server.url}/`, retries: { n: 1 } });
    await expect(client.models()).rejects.toMatchObject({
      name: "Unreachable",
      message: expect.stringContaining(
        `No server answers at ${server.url} (ECONNREFUSED)`,
      ) as string,
    });
    await expect(client.health()).resolves.toEqual({ live: false, ready: false });
  });

  it("of a server that comes up meanwhile succeeds", async () => {
    let n = 0;
    const refused = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
    const client = new GlassboxClient({
      fetch: () =>
        ++n === 1
          ? Promise.reject(new TypeError("fetch failed", { cause: refused }))
          : Promise.resolve(Response.json(NONE)),
    });
    await expect(client.models()).resolves.toEqual([]);
  });

  it.each([
    ["<html>", /no JSON/],
    ["[]", /Glassbox server/],
    ['{"choices": []}', /0 texts; 1 were asked for/],
    ['{"choices": [{"text": "hi"}]}', /no 'glassbox' object/],
  ])("that some other server answers with %s is an IntegrityError", async (text, words) => {
    const { client } = await served((_, response) => response.end(text));
    await expect(client.generate("a")).rejects.toMatchObject({
      name: "IntegrityError",
      message: expect.stringMatching(words) as string,
    });
  });
});

describe("a stream", () => {
  it("that came to its end leaves its connection to the next one", async () => {
    const connections = new Set<unknown>();
    const { client } = await served((_, response) => {
      connections.add(response.socket);
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(eventStream(chunks("a", "b")).replace("data: [DONE]\n\n", ""));
      // After the last piece, as by a proxy that passes each part on by itself.
      setTimeout(() => response.end("data: [DONE]\n\n"), 20);
    });
    for (let at = 0; at < 10; at++) {
      let text = "";
      for await (const piece of client.stream("x")) text += piece.text;
      expect(text).toBe("ab");
    }
    // Not ten: one is now and then not free yet.
    expect(connections.size).toBeLessThan(6);
  });

  it("that is left early closes the connection", async () => {
    let closed = (): void => undefined;
    const isClosed = new Promise<void>((resolve) => (closed = resolve));
    const { client } = await served((_, response) => {
      response.on("close", closed);
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(eventStream(chunks("a", "b").slice(0, 1)));
    });
    for await (const piece of client.stream("x")) {
      expect(piece.text).toBe("a");
      break;
    }
    await isClosed;
  });

  it("has no deadline for the whole, but one between two parts", async () => {
    const { server, client } = await served(
      async (_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        for (const each of chunks("a", "b")) {
          await new Promise((resolve) => setTimeout(resolve, 80));
          response.write(eventStream([each]));
        }
        response.end();
      },
      { timeoutS: 0.2 },
    );
    const texts = [];
    for await (const { text } of client.stream("x")) texts.push(text);
    expect(texts).toEqual(["a", "b"]);
    expect(server.seen[0]?.headers["x-request-timeout"]).toBeUndefined();
    const silent = await served(
      (_, response) => response.writeHead(200).write(eventStream(chunks("a", "b").slice(0, 1))),
      { timeoutS: 0.05 },
    );
    const read = async () => {
      for await (const _ of silent.client.stream("x"));
    };
    await expect(read()).rejects.toMatchObject({ name: "DeadlineExceeded" });
  });

  it("waits for a reader that takes its time", async () => {
    const { client } = await served(
      (_, response) => {
        response.writeHead(200);
        for (const each of chunks("a", "b")) response.write(eventStream([each]));
        setTimeout(() => response.end(), 50);
      },
      { timeoutS: 0.1 },
    );
    const texts = [];
    for await (const { text } of client.stream("x")) {
      texts.push(text);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(texts).toEqual(["a", "b"]);
  });

  it("that its owner gives up midway throws the reason", async () => {
    const { client } = await served((_, response) =>
      response.writeHead(200).write(eventStream(chunks("a", "b").slice(0, 1))),
    );
    const owner = new AbortController();
    const read = async () => {
      for await (const _ of client.stream("x", {}, { signal: owner.signal })) {
        owner.abort(new Error("stop"));
      }
    };
    await expect(read()).rejects.toThrow("stop");
  });
});

describe("what a client is made with", () => {
  it.each([
    [{ url: "localhost" }, /url is "localhost"; allowed: an address/],
    [{ url: "sagemaker://x" }, /sageMakerFetch/],
    [{ url: "http://host/?key=secret" }, /url is "http:\/\/host\/\?…"; allowed: an address/],
    [{ retries: { n: -1 } }, /retries is \{ n: -1, longestWaitS: 30 \}; allowed/],
    [{ retries: { longestWaitS: NaN } }, /longestWaitS: NaN/],
    [{ timeoutS: 0 }, /timeoutS is 0/],
    [{ timeoutS: NaN }, /timeoutS is NaN/],
  ])("%j is refused with what is allowed", (options, words) => {
    expect(() => new GlassboxClient(options)).toThrow(words);
  });

  it("a key that cannot be one is refused and not shown", () => {
    expect(() => new GlassboxClient({ key: "gb secret" })).toThrow(/API key is empty or holds/);
    expect(() => new GlassboxClient({ key: "" })).not.toThrow(/secret/);
  });

  it.each(["http://anna:secret@host", "http://:secret@host:1/", "ftp://anna:secret@host"])(
    "an address with a password is refused, and the password not shown: %s",
    (url) => {
      const made = () => new GlassboxClient({ url });
      expect(made).toThrow(/without a user name and a password/);
      expect(made).not.toThrow(/secret/);
    },
  );

  it("of the environment that is empty is none, and a line break at its end is no part of it", async () => {
    const { server } = await served((_, response) => json(response, NONE));
    for (const key of ["", "gb-1\n"]) {
      vi.stubEnv("GLASSBOX_API_KEY", key);
      await new GlassboxClient({ url: server.url }).models();
    }
    const sent = server.seen.map(({ headers }) => headers.authorization);
    expect(sent).toEqual([undefined, "Bearer gb-1"]);
  });

  it("an address below a path keeps it", async () => {
    const { server } = await served((_, response) => json(response, NONE));
    await new GlassboxClient({ url: `${server.url}/models/` }).models();
    expect(server.seen[0]?.url).toBe("/models/v1/models");
  });
});

describe("a server of another version", () => {
  const answering = (version: string, warnings: string[], status = 200) =>
    new GlassboxClient({
      fetch: () => {
        const headers = { "glassbox-version": version };
        return Promise.resolve(Response.json(completion("a"), { status, headers }));
      },
      onWarning: (message) => warnings.push(message),
    });

  it("of the same major one is named once, and its answers are read all the same", async () => {
    const warnings: string[] = [];
    const client = answering("0.9.1", warnings);
    expect((await client.generate("x")).text).toBe("a");
    await client.generate("x");
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/runs Glassbox 0\.9\.1 and this client 0\.1\.0: most calls work/);
  });

  it("is named in its errors, which may come of it", async () => {
    await expect(answering("0.9.1", [], 400).generate("x")).rejects.toThrow(
      /The server runs Glassbox 0\.9\.1 and this client 0\.1\.0: install the same version/,
    );
  });

  it("of another major one is not understood", async () => {
    await expect(answering("2.0.0", []).generate("x")).rejects.toMatchObject({
      name: "VersionMismatch",
      code: "version-mismatch",
      message: expect.stringContaining("Install glassbox-llm@2.0.0 here") as string,
    });
  });

  it.each(["0.1.7", "dev", ""])("%j is none", async (version) => {
    const warnings: string[] = [];
    await answering(version, warnings).generate("x");
    expect(warnings).toEqual([]);
  });
});
