import { afterEach, describe, expect, it } from "vitest";

import { GlassboxClient, type ClientOptions } from "../src/index.js";
import { completion, eventStream } from "./answers.js";
import { json, running, type Handler, type Running } from "./server.js";

const open: Running[] = [];

async function served(handle: Handler, options: ClientOptions = {}) {
  const server = await running(handle);
  open.push(server);
  return { server, client: new GlassboxClient({ url: server.url, ...options }) };
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

const NONE = { object: "list", data: [] };

/** A server that is away at first, as a proxy says it. */
function awayFor(nTimes: number, status = 502): Handler {
  let n = 0;
  return (_, response) =>
    ++n <= nTimes
      ? response.writeHead(status).end("Bad Gateway")
      : json(response, { ...NONE, texts: [] });
}

describe("a proxy without its server", () => {
  it("is asked again, unless something may have been done", async () => {
    const { server, client } = await served(awayFor(1));
    await expect(client.models()).resolves.toEqual([]);
    expect(server.seen).toHaveLength(2);
    const other = await served(awayFor(1));
    const register = other.client.call("post", "/api/v2/models/versions", {
      body: { source: "run" },
    });
    await expect(register).rejects.toMatchObject({ name: "CapacityError", status: 502 });
    expect(other.server.seen).toHaveLength(1);
  });

  it("gets no second session, and no second wish to take an adapter away", async () => {
    const { server, client } = await served(awayFor(2, 503));
    const session = client.call("post", "/v1/techniques/sessions", { body: {} });
    await expect(session).rejects.toMatchObject({ status: 503 });
    const body = { lora_name: "one" };
    const unload = client.call("post", "/v1/unload_lora_adapter", { body });
    await expect(unload).rejects.toMatchObject({ status: 503 });
    expect(server.seen).toHaveLength(2);
  });

  it("is asked as often as one call says, the rest as the client says", async () => {
    const { server, client } = await served(awayFor(9), { retries: { n: 3, longestWaitS: 0.3 } });
    await expect(client.models({ retries: { n: 0 } })).rejects.toMatchObject({ status: 502 });
    expect(server.seen).toHaveLength(1);
    // The second wait, 0.5 s, is longer than the client allows.
    await expect(client.models({ retries: { n: 2 } })).rejects.toMatchObject({ status: 502 });
    expect(server.seen).toHaveLength(3);
    await expect(client.models({ retries: { n: -1 } })).rejects.toThrow(/retries is \{ n: -1/);
  });
});

describe("an address", () => {
  it.each(["/v1", "/v1/", "/"])("may end as OpenAI's clients want it: %s", async (end) => {
    const { server } = await served((_, response) => json(response, NONE));
    await new GlassboxClient({ url: server.url + end }).models();
    expect(server.seen[0]?.url).toBe("/v1/models");
  });

  it("that speaks no https says so at once, not that an answer broke off", async () => {
    const { server } = await served((_, response) => json(response, NONE));
    const client = new GlassboxClient({ url: server.url.replace("http:", "https:") });
    await expect(client.models()).rejects.toMatchObject({
      name: "Unreachable",
      message: expect.stringMatching(/^No secure connection to https:.* speak https/s) as string,
    });
  });
});

describe("the name of a request in the server's log", () => {
  const named = (handle: Handler) =>
    served((request, response) => {
      response.setHeader("x-request-id", "r-7");
      return handle(request, response);
    });

  it("comes with a text, whole or as a stream", async () => {
    const { client } = await named((_, response) => json(response, completion("a")));
    expect((await client.generate("x")).request_id).toBe("r-7");
  });

  it("comes with an answer that cannot be read", async () => {
    const { client } = await named((_, response) => response.end("<html>"));
    await expect(client.models()).rejects.toMatchObject({ code: "integrity", requestId: "r-7" });
  });

  it.each([
    [eventStream(['{"error": {"code": "deadline-exceeded", "message": "late"}}'])],
    [eventStream(["{"])],
    [""],
  ])("comes with a stream that fails, number %#", async (events) => {
    const { client } = await named((_, response) => response.end(events));
    await expect(client.stream("x").next()).rejects.toMatchObject({ requestId: "r-7" });
  });
});

describe("any route", () => {
  it("gives what it has: JSON, a text, nothing", async () => {
    const { client } = await served(({ url }, response) => {
      if (url === "/metrics") response.end("# HELP x\n");
      else if (url.endsWith("/report")) response.end("<html>");
      else if (url.includes("/cancel")) response.writeHead(204).end();
      else json(response, { n: 1 });
    });
    expect(await client.call("get", "/metrics", {})).toBe("# HELP x\n");
    const path = { study: "s" };
    expect(await client.call("get", "/v1/pathways/{study}/report", { path })).toBe("<html>");
    const run = { run_id: "1" };
    const cancelled = client.call("post", "/v1/techniques/runs/{run_id}/cancel", { path: run });
    await expect(cancelled).resolves.toBeUndefined();
    expect(await client.call("get", "/v1/fleet", {})).toEqual({ n: 1 });
  });
});

describe("a server that starts anew", () => {
  it("behind a connection that was kept is asked over a new one", async () => {
    const first = await running((_, response) => json(response, NONE));
    const client = new GlassboxClient({ url: first.url });
    await client.models();
    await first.close();
    const port = Number(new URL(first.url).port);
    setTimeout(() => {
      void running((_, response) => json(response, NONE), port).then((each) => open.push(each));
    }, 400);
    await expect(
      client.call("post", "/api/v2/models/rollouts", { body: { challenger: "c" } }),
    ).resolves.toEqual(NONE);
  });
});
