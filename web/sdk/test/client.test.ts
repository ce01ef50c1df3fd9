import { describe, expect, it } from "vitest";

import { GlassboxClient, type Fetch } from "../src/index.js";
import { messages } from "../src/events.js";
import { chat, chunks, completion, eventStream, safetensors, SHOWN } from "./answers.js";

type Sent = { method: string; url: string; headers: Record<string, string>; body: unknown };

/** A client whose every call gets the same answer, and what it sent. */
function answered(answer: () => Response): { client: GlassboxClient; sent: Sent[] } {
  const sent: Sent[] = [];
  const fetch: Fetch = (url, init) => {
    const body: unknown = typeof init.body === "string" ? JSON.parse(init.body) : undefined;
    const headers = init.headers as Record<string, string>;
    sent.push({ method: init.method ?? "", url, headers, body });
    return Promise.resolve(answer());
  };
  return { client: new GlassboxClient({ url: "http://test", fetch }), sent };
}

async function all<T>(pieces: AsyncIterable<T>): Promise<T[]> {
  const found = [];
  for await (const each of pieces) found.push(each);
  return found;
}

describe("generate", () => {
  it("asks as the Python client does, and gives text and readings in one", async () => {
    const { client, sent } = answered(() => Response.json(completion(" good")));
    const found = await client.generate("The film was");
    expect(sent[0]).toMatchObject({ method: "POST", url: "http://test/v1/completions" });
    expect(sent[0]?.body).toEqual({
      prompt: ["The film was"],
      max_tokens: 256,
      temperature: 0.7,
      glassbox: { entropies: true, probes: false },
    });
    expect(found).toMatchObject({ text: " good", model: "tiny", mean_entropy: 1.5, tokens: [] });
    expect(found.usage?.total_tokens).toBe(5);
  });

  it("keeps what is zero or false", async () => {
    const { client, sent } = answered(() => Response.json(completion("a")));
    await client.generate([1, 2], { temperature: 0, seed: 0, stop_at_end: false, top_k: 3 });
    expect(sent[0]?.body).toMatchObject({
      prompt: [[1, 2]],
      temperature: 0,
      seed: 0,
      glassbox: { stop_at_end: false, top_k: 3 },
    });
  });

  it.each([
    [{ temperature: NaN }, /temperature is NaN; allowed: a finite number/],
    [{ top_p: Infinity }, /top_p is Infinity/],
    [{ seed: 10n as unknown as number }, /seed is 10n; .*no bigint/],
  ])("refuses a number that JSON has no words for, number %#", async (asked, words) => {
    const { client, sent } = answered(() => new Response(null));
    await expect(client.generate("x", asked)).rejects.toThrow(words);
    expect(sent).toEqual([]);
  });

  it("gives one text to each prompt", async () => {
    const { client } = answered(() => Response.json(completion("a", "b")));
    expect((await client.generateMany(["x", "y"])).map(({ text }) => text)).toEqual(["a", "b"]);
    await expect(client.generateMany(["x"])).rejects.toThrow(/2 texts; 1 were asked for/);
  });

  it("reads the alternatives to each token", async () => {
    const answer = completion("ab");
    const logprobs = { tokens: ["a", "b"], top_logprobs: [{ a: -1, c: -2 }, null] };
    Object.assign(answer.choices[0] ?? {}, { logprobs });
    const { client, sent } = answered(() => Response.json(answer));
    const found = await client.generate("x", { top_logprobs: 2 });
    expect(sent[0]?.body).toMatchObject({ logprobs: 2 });
    expect(found.tokens).toEqual(["a", "b"]);
    expect(found.top_logprobs).toEqual([{ a: -1, c: -2 }, {}]);
  });

  it("refuses a name that it does not know, before anything is sent", async () => {
    const { client, sent } = answered(() => Response.json(completion("a")));
    await expect(client.generate("x", { maxTokens: 3 } as object)).rejects.toThrow(
      /does not know maxTokens; allowed: model, max_tokens/,
    );
    expect(sent).toEqual([]);
  });
});

describe("chat", () => {
  it("reads the answer and its alternatives", async () => {
    const answer = chat("Hello.");
    const content = [{ token: "He", top_logprobs: [{ token: "He", logprob: -0.5 }] }];
    Object.assign(answer.choices[0] ?? {}, { logprobs: { content } });
    const { client, sent } = answered(() => Response.json(answer));
    const found = await client.chat([{ role: "user", content: "Hi" }], { top_logprobs: 1 });
    expect(sent[0]?.url).toBe("http://test/v1/chat/completions");
    expect(sent[0]?.body).toMatchObject({ logprobs: true, top_logprobs: 1 });
    expect(found).toMatchObject({ text: "Hello.", tokens: ["He"], top_logprobs: [{ He: -0.5 }] });
  });
});

describe("a stream", () => {
  it.each([false, true])("gives pieces, the last with all of it (chat: %s)", async (isChat) => {
    const body = eventStream([...chunks("Good", " day", isChat), "[DONE]"]);
    const { client, sent } = answered(() => new Response(body));
    const pieces = await all(
      isChat ? client.streamChat([{ role: "user", content: "x" }]) : client.stream("x"),
    );
    expect(sent[0]?.body).toMatchObject({ stream: true, stream_options: { include_usage: true } });
    expect(sent[0]?.headers.accept).toBe("text/event-stream");
    expect(pieces.map(({ text }) => text)).toEqual(["Good", " day"]);
    expect(pieces.map(({ entropies }) => entropies)).toEqual([[1], [2]]);
    expect(pieces[0]).not.toHaveProperty("whole");
    expect(pieces[1]?.whole).toMatchObject({ ...SHOWN, text: "Good day", model: "tiny" });
    expect(pieces[1]?.whole?.usage?.total_tokens).toBe(5);
    expect(pieces[1]).not.toHaveProperty("final");
  });

  const [first = "", second = ""] = chunks("a", "b");
  it.each([
    [[], /broke off/],
    [["[DONE]"], /ended before the text did/],
    [[first, "[DONE]"], /ended before the text did/],
    [[first, second], /ended before the text did/],
    [["{"], /no JSON/],
    [["[]"], /no object/],
    [['{"object": "else"}'], /no 'choices'/],
    [['{"choices": [{"text": "h", "finish_reason": null}]}'], /no 'glassbox' object/],
    [['{"error": {"code": "text-too-long", "message": "long"}}'], /^long$/],
  ])("that is cut or foreign does not end silently: %j", async (events, words) => {
    const { client } = answered(() => new Response(eventStream(events)));
    await expect(all(client.stream("x"))).rejects.toThrow(words);
  });
});

describe("server-sent events", () => {
  const text = 'event: drift\r\ndata: {"a":\r\ndata: "é"}\r\n\r\n: waiting\n\ndata:x\n\ndata: cut';
  const bytes = new TextEncoder().encode(text);

  it.each([1, 2, 3, 7, 1000])("are the same, cut into parts of %i bytes", async (size) => {
    async function* parts() {
      for (let at = 0; at < bytes.length; at += size) {
        yield await Promise.resolve(bytes.subarray(at, at + size));
      }
    }
    expect(await all(messages(parts()))).toEqual([
      { event: "drift", data: '{"a":\n"é"}' },
      { event: "message", data: "x" },
    ]);
  });

  it("of megabytes are put together in a moment", async () => {
    const part = new Uint8Array(1 << 14).fill(97);
    async function* parts() {
      yield new TextEncoder().encode("data: ");
      for (let n = 0; n < 1500; n++) yield await Promise.resolve(part);
      yield new TextEncoder().encode("\n\n");
    }
    const began = performance.now();
    const [message] = await all(messages(parts()));
    expect(message?.data).toHaveLength(1500 << 14);
    expect(performance.now() - began).toBeLessThan(2000);
  });

  it("say what changes in the service", async () => {
    const body = 'event: rollout\ndata: {"n": 1}\n\n';
    const { client, sent } = answered(() => new Response(body));
    expect(await all(client.changes())).toEqual([{ topic: "rollout", data: { n: 1 } }]);
    expect(sent[0]?.url).toBe("http://test/api/v2/models/events");
  });
});

describe("states", () => {
  const place = { layer: 7, site: "resid_post", hidden_state_index: 8, scope: "prompt" };
  const details = (...indices: number[]) =>
    JSON.stringify({
      model: "tiny",
      data: indices.map((index) => ({
        index,
        n_tokens: 2,
        states: [{ ...place, n_positions: 2, norm: 3.5 }],
      })),
    });

  it("come as float32 arrays, every position's as rows", async () => {
    const name = "0.layer_7.resid_post";
    const content = safetensors(
      {
        [`${name}.mean`]: { shape: [3], data: [1, 2.5, -3] },
        [`${name}.none`]: { shape: [2, 3], data: [1, 2, 3, 4, 5, 6] },
      },
      { glassbox: details(0) },
    );
    const { client, sent } = answered(() => new Response(content));
    const [text] = await client.states(["x"], { capture: { layers: [-1], pooling: ["mean"] } });
    expect(sent[0]?.body).toEqual({
      input: ["x"],
      capture: { layers: [-1], pooling: ["mean"] },
    });
    expect(sent[0]?.headers.accept).toBe("application/vnd.safetensors");
    const [state] = text?.states ?? [];
    expect(state).toMatchObject({ ...place, norm: 3.5 });
    expect(state?.mean).toEqual(Float32Array.of(1, 2.5, -3));
    expect(state?.none).toEqual([Float32Array.of(1, 2, 3), Float32Array.of(4, 5, 6)]);
    expect(state).not.toHaveProperty("last");
  });

  const header = (entry: object) => {
    const words = new TextEncoder().encode(JSON.stringify(entry));
    const content = new Uint8Array(8 + words.length);
    content[0] = words.length;
    content.set(words, 8);
    return content;
  };
  it.each([
    [new Uint8Array(3), /shorter than its header/],
    [new Uint8Array(20).fill(9), /header is cut short/],
    [Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 91, 93), /header is no object/],
    [Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 91), /no JSON/],
    [header({ x: { dtype: "F16", shape: [1], data_offsets: [0, 2] } }), /x is F16; this reads F32/],
    [header({ x: { dtype: "F32", shape: [1], data_offsets: [0, 4] } }), /x is cut short/],
    [header({ x: { dtype: "F32", shape: [-1], data_offsets: [0, 4] } }), /x is not described/],
    [safetensors({}, {}), /no 'glassbox'/],
    [safetensors({}, { glassbox: details(0, 1) }), /2 texts; 1 were asked for/],
  ])("that cannot be read are an IntegrityError", async (content, words) => {
    const { client } = answered(() => new Response(content));
    await expect(client.states(["x"])).rejects.toMatchObject({
      name: "IntegrityError",
      message: expect.stringMatching(words) as string,
    });
  });
});

describe("the other calls", () => {
  it("go to their routes with what the reference names", async () => {
    const { client, sent } = answered(() => Response.json({ data: [] }));
    await client.classify([], { model: "m" });
    await client.verify({ prompt: "p", response: "r", k: 2 });
    await client.lens({ prompt: "p", top_k: 3 });
    await client.adapters();
    await client.fleet();
    await client.loadAdapter("a", "/a");
    await client.predict({ features: { x: 1 } }, { requestId: "r-1", waitShadowS: 0 });
    await client.predictBatch({ rows: [{ features: {} }] });
    await client.tellLabels({ "r-1": "positive", "r-2": 0 });
    expect(sent.map(({ method, url }) => `${method} ${url.replace("http://test", "")}`)).toEqual([
      "POST /v1/classify",
      "POST /v1/verify",
      "POST /v1/lens",
      "GET /v1/adapters",
      "GET /v1/fleet",
      "POST /v1/adapters",
      "POST /api/v2/models/predict?wait_shadow_s=0",
      "POST /api/v2/models/predict/batch",
      "POST /api/v2/models/labels",
    ]);
    expect(sent[6]?.headers["x-request-id"]).toBe("r-1");
    expect(sent[8]?.body).toEqual({
      labels: [
        { request_id: "r-1", label: "positive" },
        { request_id: "r-2", label: 0 },
      ],
    });
  });

  it("are asked with nothing where a route needs nothing", async () => {
    const { client, sent } = answered(() => Response.json({ data: [] }));
    await expect(client.call("get", "/v1/models")).resolves.toEqual({ data: [] });
    expect(sent[0]?.url).toBe("http://test/v1/models");
  });

  it("have names in a path and a query written as addresses need them", async () => {
    const { client, sent } = answered(() => new Response(null, { status: 204 }));
    await expect(client.unloadAdapter("a/b c")).resolves.toBeUndefined();
    const path = "/v1/pathways/{study}/tokens";
    const query = { token: "a,b&c", limit: undefined };
    await client.call("get", path, { path: { study: "s" }, query } as never);
    expect(sent.map(({ url }) => url)).toEqual([
      "http://test/v1/adapters/a%2Fb%20c",
      "http://test/v1/pathways/s/tokens?token=a%2Cb%26c",
    ]);
  });
});
