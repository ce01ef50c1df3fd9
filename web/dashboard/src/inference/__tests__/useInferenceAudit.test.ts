import { act, renderHook } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { entry, registry, summary } from "../../testing/samples";
import { type FakeServer, fakeServer } from "../../testing/server";
import { useInferenceAudit } from "../useInferenceAudit";

let server: FakeServer;

beforeEach(() => {
  vi.useFakeTimers();
  server = fakeServer({
    "/audit/summary": () => summary,
    "/audit/recent": () => [entry(2), entry(1)],
    "/registry": () => registry,
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const passed = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));
const nLooks = () => server.asked.filter((path) => path.includes("summary")).length;

function hide(isHidden: boolean): void {
  vi.spyOn(document, "visibilityState", "get").mockReturnValue(isHidden ? "hidden" : "visible");
  document.dispatchEvent(new Event("visibilitychange"));
}

test("it has nothing, then everything of one look", async () => {
  const { result } = renderHook(() => useInferenceAudit({ maxRecentEntries: 25 }));
  expect(result.current).toMatchObject({ loading: true, summary: null, recentEntries: [] });
  await passed(0);
  expect(result.current).toMatchObject({ loading: false, error: null, isPolling: true });
  expect(result.current.summary).toEqual(summary);
  expect(result.current.registryInfo).toEqual(registry);
  expect(result.current.recentEntries).toHaveLength(2);
  expect(server.asked).toContain("GET /audit/recent?limit=25");
});

test("it looks again at each interval", async () => {
  renderHook(() => useInferenceAudit({ pollingInterval: 30_000 }));
  await passed(0);
  await passed(29_000);
  expect(nLooks()).toBe(1);
  await passed(1_000);
  expect(nLooks()).toBe(2);
  await passed(30_000);
  expect(nLooks()).toBe(3);
});

test("a failure keeps what is there, says why, and is tried again sooner", async () => {
  const { result } = renderHook(() => useInferenceAudit({ pollingInterval: 30_000 }));
  await passed(0);
  server.fail(500);
  await passed(30_000);
  expect(result.current.error?.message).toBe("It is broken.");
  expect(result.current.summary).toEqual(summary);
  expect(nLooks()).toBe(2);
  await passed(2_000);
  expect(nLooks()).toBe(3);
  await passed(3_000);
  expect(nLooks()).toBe(3);
  server.mend();
  await passed(1_000);
  expect(nLooks()).toBe(4);
  expect(result.current.error).toBeNull();
});

test("without a start of its own it looks once, and goes on when told", async () => {
  const { result } = renderHook(() => useInferenceAudit({ autoStart: false }));
  await passed(300_000);
  expect(result.current.isPolling).toBe(false);
  expect(result.current.summary).not.toBeNull();
  expect(nLooks()).toBe(1);
  act(() => result.current.togglePolling());
  await passed(0);
  expect(result.current.isPolling).toBe(true);
  expect(nLooks()).toBe(2);
  act(() => result.current.togglePolling());
  await passed(300_000);
  expect(nLooks()).toBe(3);
});

test("a refresh looks at once, also while it does not poll", async () => {
  const { result } = renderHook(() => useInferenceAudit({ autoStart: false }));
  await passed(0);
  act(() => result.current.refresh());
  await passed(0);
  expect(nLooks()).toBe(2);
});

test("of another model nothing is shown that was the one's before", async () => {
  const { result, rerender } = renderHook(
    (model: string | undefined) => useInferenceAudit(model === undefined ? {} : { model }),
    { initialProps: undefined as string | undefined },
  );
  await passed(0);
  expect(server.asked).toContain("GET /audit/summary");
  server.fail(404);
  rerender("second");
  expect(result.current).toMatchObject({ loading: true, summary: null, recentEntries: [] });
  await passed(0);
  expect(result.current).toMatchObject({ loading: false, summary: null });
  expect(result.current.error?.message).toBe("It is broken.");
  server.mend();
  await passed(2_000);
  expect(result.current.summary).toEqual(summary);
  expect(server.asked).toContain("GET /audit/summary?model=second");
  expect(server.asked).toContain("GET /audit/recent?limit=25&model=second");
  expect(server.asked).toContain("GET /registry?model=second");
});

test("a hidden tab does not ask, and catches up when it is seen again", async () => {
  renderHook(() => useInferenceAudit({ pollingInterval: 30_000 }));
  await passed(0);
  hide(true);
  await passed(600_000);
  expect(nLooks()).toBe(1);
  hide(false);
  await passed(2_000);
  expect(nLooks()).toBe(2);
});

test("nothing is asked any more once it is gone", async () => {
  const { unmount } = renderHook(() => useInferenceAudit({ pollingInterval: 1_000 }));
  await passed(0);
  unmount();
  await passed(60_000);
  expect(nLooks()).toBe(1);
});
