import { expect, test } from "vitest";

import { events } from "../events";

function stream(...parts: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  });
}

async function read(body: ReadableStream<Uint8Array>): Promise<string[]> {
  const found: string[] = [];
  for await (const data of events(body)) found.push(data);
  return found;
}

const bytes = (text: string) => new TextEncoder().encode(text);

test("events come out whole however the bytes are cut", async () => {
  const whole = bytes('data: {"a":"é␣"}\n\ndata: two\n\ndata: [DONE]\n\n');
  for (let cut = 0; cut <= whole.length; cut++) {
    expect(await read(stream(whole.slice(0, cut), whole.slice(cut)))).toEqual([
      '{"a":"é␣"}',
      "two",
    ]);
  }
});

test("nothing after the end mark is read", async () => {
  expect(await read(stream(bytes("data: [DONE]\n\ndata: late\n\n")))).toEqual([]);
});

test("comments are passed over, lines of one event are joined", async () => {
  expect(await read(stream(bytes(": ping\r\n\r\ndata: a\r\ndata: b\r\n\r\n")))).toEqual(["a\nb"]);
});

test("an event that the end cuts off does not count", async () => {
  expect(await read(stream(bytes("data: a\n\ndata: b")))).toEqual(["a"]);
});

test("who leaves early closes the stream", async () => {
  let isClosed = false;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(bytes("data: a\n\ndata: b\n\n")),
    cancel: () => {
      isClosed = true;
    },
  });
  for await (const data of events(body)) {
    expect(data).toBe("a");
    break;
  }
  expect(isClosed).toBe(true);
});
