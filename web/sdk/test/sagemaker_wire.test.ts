/** AWS's real SDK before a server of this machine that answers as SageMaker does. */
import { afterEach, describe, expect, it } from "vitest";

import { GlassboxClient } from "../src/index.js";
import { sageMakerFetch, ShadowSelfClient, type SageMakerOptions } from "../src/sagemaker/index.js";
import { readAttributes, writeAttributes } from "../src/sagemaker/attributes.js";
import { chunks, completion, eventStream, safetensors } from "./answers.js";
import { CREDENTIALS, modelError, payloadPart, streamFault } from "./aws.js";
import { json, running, type Handler, type Running } from "./server.js";

const open: Running[] = [];

async function endpoint(handle: Handler): Promise<{ server: Running; options: SageMakerOptions }> {
  const server = await running(handle);
  open.push(server);
  const aws = { endpoint: server.url, credentials: CREDENTIALS };
  return { server, options: { endpointName: "shadow-self", region: "eu-west-1", aws } };
}

afterEach(() => Promise.all(open.splice(0).map((each) => each.close())));

describe("a GlassboxClient before an endpoint", () => {
  it("sends each route in the custom attributes, signed", async () => {
    const { server, options } = await endpoint((_, response) => json(response, completion("a")));
    const client = new GlassboxClient({ fetch: sageMakerFetch(options), timeoutS: 30 });
    expect((await client.generate("x")).text).toBe("a");
    const [seen] = server.seen;
    expect(seen).toMatchObject({ method: "POST", url: "/endpoints/shadow-self/invocations" });
    expect(seen?.headers).toMatchObject({
      "content-type": "application/json",
      "x-amzn-sagemaker-custom-attributes":
        "glassbox-path=/v1/completions,glassbox-method=POST,glassbox-timeout=30",
    });
    expect(seen?.headers.authorization).toMatch(/^AWS4-HMAC-SHA256 .*\/eu-west-1\/sagemaker\//);
    expect(JSON.parse(seen?.body ?? "")).toMatchObject({ prompt: ["x"] });
  });

  it("gets bytes as they are: hidden states", async () => {
    const content = safetensors({}, { glassbox: JSON.stringify({ data: [{ states: [] }] }) });
    const { server, options } = await endpoint((_, response) =>
      response.writeHead(200, { "content-type": "application/vnd.safetensors" }).end(content),
    );
    const client = new GlassboxClient({ fetch: sageMakerFetch(options) });
    expect(await client.states(["x"])).toEqual([{ states: [] }]);
    expect(
      server.seen[0]?.headers["x-amzn-sagemaker-accept"] ?? server.seen[0]?.headers.accept,
    ).toBe("application/vnd.safetensors");
  });

  it("meets the container's errors as those of a server, and waits where it is full", async () => {
    let n = 0;
    const full = { code: "queue-full", detail: "Full.", retry_after_s: 0.01 };
    const { options } = await endpoint((_, response) =>
      ++n < 3 ? modelError(response, 429, JSON.stringify(full)) : json(response, completion("a")),
    );
    const client = new GlassboxClient({ fetch: sageMakerFetch(options) });
    expect((await client.generate("x")).text).toBe("a");
    const long = { error: { message: "Too long.", code: "context_length_exceeded" } };
    const other = await endpoint((_, response) => modelError(response, 400, JSON.stringify(long)));
    await expect(
      new GlassboxClient({ fetch: sageMakerFetch(other.options) }).generate("x"),
    ).rejects.toMatchObject({ name: "UsageError", code: "text-too-long", message: "Too long." });
  });

  it("streams, and closes the connection when it is left early", async () => {
    let closed = (): void => undefined;
    const isClosed = new Promise<void>((resolve) => (closed = resolve));
    const { server, options } = await endpoint((_, response) => {
      response.on("close", closed);
      response.writeHead(200, { "content-type": "application/vnd.amazon.eventstream" });
      const events = chunks("a", "b");
      response.write(payloadPart(eventStream(events.slice(0, 1))));
      const isFirst = server.seen.length === 1;
      if (isFirst) response.end(payloadPart(eventStream(events.slice(1))));
    });
    const client = new GlassboxClient({ fetch: sageMakerFetch(options) });
    const texts = [];
    for await (const { text, whole } of client.stream("x")) texts.push(whole?.text ?? text);
    expect(texts).toEqual(["a", "ab"]);
    expect(server.seen[0]?.url).toBe("/endpoints/shadow-self/invocations-response-stream");
    const again = new Promise<void>((resolve) => (closed = resolve));
    await isClosed;
    for await (const { text } of client.stream("x")) {
      expect(text).toBe("a");
      break;
    }
    await again;
  });

  it("is told of a stream that SageMaker ends", async () => {
    const { options } = await endpoint((_, response) => {
      response.writeHead(200, { "content-type": "application/vnd.amazon.eventstream" });
      response.write(payloadPart(eventStream(chunks("a", "b").slice(0, 1))));
      response.end(streamFault("ModelStreamError", { Message: "gone", ErrorCode: "StreamBroken" }));
    });
    const client = new GlassboxClient({ fetch: sageMakerFetch(options) });
    const read = async () => {
      for await (const _ of client.stream("x"));
    };
    await expect(read()).rejects.toMatchObject({
      name: "Unreachable",
      message: expect.stringMatching(/ModelStreamError/) as string,
    });
  });

  it("asks whether it is well through what an endpoint carries", async () => {
    const { server, options } = await endpoint((_, response) => json(response, { data: [] }));
    const client = new GlassboxClient({ fetch: sageMakerFetch(options) });
    expect(await client.health()).toEqual({ live: true, ready: true });
    expect(server.seen[0]?.headers["x-amzn-sagemaker-custom-attributes"]).toMatch(
      /^glassbox-path=\/v1\/models,glassbox-method=GET/,
    );
  });

  it("refuses what an endpoint does not carry, and a key, before anything is sent", async () => {
    const { server, options } = await endpoint((_, response) => json(response, {}));
    const fetch = sageMakerFetch(options);
    const client = new GlassboxClient({ fetch });
    await expect(client.adapters()).rejects.toThrow(
      /does not carry GET \/v1\/adapters; it carries/,
    );
    await expect(client.predict({ features: {} })).rejects.toThrow(/does not carry POST/);
    expect(() => new GlassboxClient({ fetch, key: "gb_x" })).toThrow(/takes no API key/);
    expect(server.seen).toEqual([]);
  });
});

describe("a ShadowSelfClient before an endpoint", () => {
  it("gives up when its time is over, or its caller does", async () => {
    const { options } = await endpoint(() => undefined);
    const client = new ShadowSelfClient({ ...options, timeoutS: 0.1 });
    await expect(client.invokeWithHiddenStates("x")).rejects.toMatchObject({
      name: "DeadlineExceeded",
      message: expect.stringContaining("sagemaker://shadow-self?region=eu-west-1") as string,
    });
    const signal = AbortSignal.timeout(30);
    await expect(client.invokeWithHiddenStates("x", { signal, timeoutS: 5 })).rejects.toMatchObject(
      { name: "TimeoutError" },
    );
  });

  it("names the region where SageMaker cannot be reached", async () => {
    const { server, options } = await endpoint(() => undefined);
    await server.close();
    await expect(new ShadowSelfClient(options).invokeWithHiddenStates("x")).rejects.toMatchObject({
      name: "Unreachable",
      message: expect.stringMatching(/cannot be reached in eu-west-1 \(ECONNREFUSED\)/) as string,
    });
  });
});

describe("custom attributes", () => {
  it.each(["/v1/x?a=b,c", "naïve 🙂", "a=b", "(x)*!'~"])("bring %j back as it was", (value) => {
    const text = writeAttributes({ "glassbox-path": value, "glassbox-adapter": "b" });
    expect(text).toMatch(/^[!-~]*$/);
    expect(text.split(",")).toHaveLength(2);
    expect(readAttributes(text)).toEqual({ "glassbox-path": value, "glassbox-adapter": "b" });
  });

  it("of others are left alone, and too many are refused", () => {
    expect(readAttributes("trace=1, glassbox-x=%zz,=,junk")).toEqual({ "glassbox-x": "%zz" });
    expect(() => writeAttributes({ a: "b".repeat(1024) })).toThrow(/allowed: 1024 at most/);
  });
});
