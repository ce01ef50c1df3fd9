import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { createLive } from "../live";
import { Problem } from "../problem";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function line() {
  const encoder = new TextEncoder();
  let say: (text: string) => void = () => undefined;
  let end: () => void = () => undefined;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      say = (text) => controller.enqueue(encoder.encode(text));
      end = () => controller.close();
    },
  });
  return { response: new Response(body), say: (text: string) => say(text), end: () => end() };
}

const passed = (ms: number) => vi.advanceTimersByTimeAsync(ms);

test("only those hear of a topic who asked for it", async () => {
  const open = line();
  const live = createLive(() => Promise.resolve(open.response));
  const summary = vi.fn();
  const rollout = vi.fn();
  expect(live.state()).toBe("off");
  live.listen(["summary", "inference"], summary);
  live.listen(["rollout"], rollout);
  await passed(0);
  expect(live.state()).toBe("live");
  open.say("event: summary\ndata: {}\n\nevent: heartbeat\ndata: {}\n\n");
  open.say("event: inference\ndata: {}\n\n");
  await passed(0);
  expect(summary).toHaveBeenCalledTimes(2);
  expect(rollout).not.toHaveBeenCalled();
});

test("a line that ends is opened again, each time later", async () => {
  const connect = vi.fn(() => Promise.reject(new Problem("gone", "gone", 503)));
  const live = createLive(connect);
  live.listen(["summary"], vi.fn());
  await passed(0);
  expect(live.state()).toBe("polling");
  await passed(1_300);
  expect(connect).toHaveBeenCalledTimes(2);
  await passed(1_000);
  expect(connect).toHaveBeenCalledTimes(2);
  await passed(1_600);
  expect(connect).toHaveBeenCalledTimes(3);
});

test("when a line breaks and when it is back, everybody looks once", async () => {
  const [first, second] = [line(), line()];
  const answers = [() => first.response, null, null, () => second.response];
  const live = createLive(() => {
    const next = answers.shift();
    return next ? Promise.resolve(next()) : Promise.reject(new Problem("gone", "gone", 503));
  });
  const heard = vi.fn();
  live.listen(["rollout"], heard);
  await passed(0);
  expect(heard).not.toHaveBeenCalled();
  first.end();
  await passed(0);
  expect(live.state()).toBe("polling");
  expect(heard).toHaveBeenCalledTimes(1);
  await passed(15_000);
  expect(live.state()).toBe("live");
  expect(heard).toHaveBeenCalledTimes(2);
});

test("silence for 40 s means that the line is dead", async () => {
  const lines = [line(), line()];
  let nOpened = 0;
  const live = createLive((signal) => {
    const next = lines[nOpened];
    nOpened += 1;
    signal.addEventListener("abort", () => next?.end());
    return Promise.resolve(next?.response ?? new Response(null));
  });
  live.listen(["summary"], vi.fn());
  await passed(39_000);
  expect(nOpened).toBe(1);
  await passed(3_000);
  expect(nOpened).toBe(2);
});

test("without the right to listen it is not asked again and again", async () => {
  const connect = vi.fn(() => Promise.reject(new Problem("no", "no", 403)));
  const live = createLive(connect);
  live.listen(["summary"], vi.fn());
  await passed(600_000);
  expect(connect).toHaveBeenCalledTimes(1);
  // Nothing is asked for in its place either.
  expect(live.state()).toBe("off");
});

test("the line is closed a moment after the last listener has left", async () => {
  let isAborted = false;
  const open = line();
  const live = createLive((signal) => {
    signal.addEventListener("abort", () => (isAborted = true));
    return Promise.resolve(open.response);
  });
  const leave = live.listen(["summary"], vi.fn());
  await passed(0);
  leave();
  await passed(500);
  expect(isAborted).toBe(false);
  await passed(600);
  expect(isAborted).toBe(true);
  expect(live.state()).toBe("off");
});

test("a server that takes the line and never answers is given up", async () => {
  const live = createLive(
    (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      }),
  );
  live.listen(["summary"], vi.fn());
  await passed(39_000);
  expect(live.state()).toBe("connecting");
  await passed(1_500);
  expect(live.state()).toBe("polling");
});
