import { act, renderHook } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { apiKey } from "../key";
import { useLoaded, useResource } from "../useResource";

/** Asks a server that answers with its number of looks, until it hangs. */
let nAsked: number;
let isHanging: boolean;
let refusal: number | null;

beforeEach(() => {
  vi.useFakeTimers();
  nAsked = 0;
  isHanging = false;
  refusal = null;
  vi.stubGlobal("fetch", (_: string, { signal }: { signal: AbortSignal }) => {
    nAsked += 1;
    if (refusal !== null) return Promise.resolve(Response.json({}, { status: refusal }));
    if (!isHanging) return Promise.resolve(Response.json(nAsked));
    return new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error));
    });
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const passed = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));

test("old numbers do not stand as new ones while the server hangs", async () => {
  const { result } = renderHook(() => useResource<number>("/v1/fleet", { every: 2_000 }));
  await passed(0);
  expect(result.current).toMatchObject({ data: 1, problem: null });
  isHanging = true;
  await passed(2_000);
  await passed(59_000);
  expect(result.current).toMatchObject({ data: 1, problem: null });
  await passed(1_000);
  expect(result.current.data).toBe(1);
  expect(result.current.problem?.title).toBe("The server does not answer");
  isHanging = false;
  await passed(2_000);
  expect(result.current).toMatchObject({ data: 3, problem: null });
});

test("a look that a newer one replaced is no failure", async () => {
  isHanging = true;
  const { result, unmount } = renderHook(() => useResource<number>("/v1/fleet", { every: null }));
  await passed(1_000);
  isHanging = false;
  act(() => result.current.refresh());
  await passed(0);
  expect(result.current).toMatchObject({ data: 2, problem: null });
  await passed(59_500);
  expect(nAsked).toBe(2);
  unmount();
});

test("what was left is not asked for any more", async () => {
  const { result, unmount } = renderHook(() => useResource<number>("/v1/fleet", { every: null }));
  await passed(0);
  const { refresh } = result.current;
  unmount();
  refresh();
  await passed(0);
  expect(nAsked).toBe(1);
});

test("what somebody asked for is neither cut off nor asked for again by itself", async () => {
  isHanging = true;
  const load = vi.fn(
    (signal: AbortSignal) =>
      new Promise<number>((_resolve, reject) => {
        window.setTimeout(() => reject(new Error("It is broken.")), 90_000);
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      }),
  );
  const { result } = renderHook(() =>
    useLoaded("a reading", load, { every: null, persistent: false }),
  );
  await passed(89_000);
  expect(result.current).toMatchObject({ loading: true, problem: null });
  await passed(1_000);
  expect(result.current.problem?.message).toContain("It is broken.");
  await passed(300_000);
  expect(load).toHaveBeenCalledTimes(1);
});

test.each([
  [401, "This key is not accepted"],
  [403, "This key does not allow it"],
])("whom the server refuses with %d asks again with another key only", async (status, title) => {
  act(() => apiKey.set("gbx_old"));
  refusal = status;
  const { result } = renderHook(() => useResource<number>("/v1/fleet", { every: 2_000 }));
  await passed(600_000);
  expect(nAsked).toBe(1);
  expect(result.current.problem?.title).toBe(title);
  refusal = null;
  act(() => apiKey.set("gbx_new"));
  await passed(0);
  expect(result.current).toMatchObject({ data: 2, problem: null });
  act(() => apiKey.set(""));
});

test("who has no key is told where to enter one", async () => {
  refusal = 401;
  const { result } = renderHook(() => useResource<number>("/v1/fleet"));
  await passed(0);
  expect(result.current.problem?.message).toContain("API key");
  act(() => apiKey.dismiss());
});
