import { describe, expect, it } from "vitest";

import { GlassboxClient } from "../src/index.js";
import { refusedPort } from "../src/ports.js";

/** Whether this Node's own fetch refuses a port. */
async function isRefused(port: number): Promise<boolean> {
  try {
    await (await fetch(`http://127.0.0.1:${port}/`)).body?.cancel();
    return false;
  } catch (error) {
    return (error as { cause?: Error }).cause?.message === "bad port";
  }
}

const isKnown = (port: number) => refusedPort(`http://127.0.0.1:${port}`) !== undefined;

describe("a port that fetch refuses", () => {
  it("is in the list if it is in Node's, and its neighbours are not", async () => {
    const listed = Array.from({ length: 65_535 }, (_, index) => index + 1).filter(isKnown);
    const near = new Set(listed.flatMap((port) => [port - 1, port, port + 1]));
    near.delete(0);
    for (const port of near) expect([port, isKnown(port)]).toEqual([port, await isRefused(port)]);
  });

  it.each([6000, 10080])(
    "is a UsageError that says so, not a server that is down: %i",
    async (port) => {
      const client = new GlassboxClient({ url: `http://127.0.0.1:${port}` });
      await expect(client.models()).rejects.toMatchObject({
        name: "UsageError",
        code: "invalid-value",
        message:
          `Nothing was sent to http://127.0.0.1:${port}: fetch refuses port ${port}, in Node as in ` +
          "browsers. Start the server on another one, as with 'glassbox serve --port 8787', and " +
          "give that address.",
      });
      await expect(client.health()).resolves.toEqual({ live: false, ready: false });
    },
  );

  it("is no matter to a fetch that goes there", async () => {
    const answer = () => Promise.resolve(Response.json({ object: "list", data: [] }));
    const client = new GlassboxClient({ url: "http://127.0.0.1:6000", fetch: answer });
    await expect(client.models()).resolves.toEqual([]);
  });

  it("is none where an address names no port, or is no address", () => {
    expect(refusedPort("https://example.org")).toBeUndefined();
    expect(refusedPort("endpoint 'shop' in eu-west-1")).toBeUndefined();
  });
});
