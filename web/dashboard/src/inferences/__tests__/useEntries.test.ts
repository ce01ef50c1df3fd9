import { act, renderHook } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { AuditEntry } from "../../api/wire";
import { entry } from "../../testing/samples";
import { type FakeServer, fakeServer } from "../../testing/server";
import { filtersOf, PAGE_SIZE } from "../filters";
import { useEntries } from "../useEntries";

/** As in the server: all there are, newest first, a page at a time. */
let nThere: number;
let server: FakeServer;

beforeEach(() => {
  vi.useFakeTimers();
  nThere = 250;
  server = fakeServer({
    "/audit/recent": () => {
      const asked = new URLSearchParams(server.asked.at(-1)?.split("?")[1]);
      const newest = Number(asked.get("before") ?? nThere + 1) - 1;
      const n = Math.min(PAGE_SIZE, newest);
      return Array.from({ length: n }, (_, at) => entry(newest - at));
    },
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const filters = filtersOf(new URLSearchParams());
const passed = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));
const sequences = (entries: readonly AuditEntry[]) => entries.map(({ sequence }) => sequence);

/** So many one after the other, from the newest on. */
function run(newest: number, n: number): number[] {
  return Array.from({ length: n }, (_, at) => newest - at);
}

async function twoPages() {
  const { result } = renderHook(() => useEntries(filters, true));
  await passed(0);
  act(() => result.current.more());
  await passed(0);
  expect(sequences(result.current.entries)).toEqual(run(250, 200));
  return result;
}

test("newer entries come before older pages, and none between them is missing", async () => {
  const result = await twoPages();
  for (let look = 0; look < 3; look++) {
    nThere += 70;
    await passed(60_000);
    expect(sequences(result.current.entries)).toEqual(run(nThere, 200));
  }
  act(() => result.current.more());
  await passed(0);
  expect(sequences(result.current.entries)).toEqual(run(460, 300));
});

test("where more came than a page holds, the list begins anew and goes on from there", async () => {
  const result = await twoPages();
  nThere += 170;
  await passed(60_000);
  expect(sequences(result.current.entries)).toEqual(run(420, 100));
  expect(result.current.isAll).toBe(false);
  act(() => result.current.more());
  await passed(0);
  expect(sequences(result.current.entries)).toEqual(run(420, 200));
});

test("a page that ends with what is not in the log yet goes on where the log was cut", async () => {
  const waiting = { ...entry(0), request_id: "on its way" };
  const page = [...run(250, PAGE_SIZE - 2).map((place) => entry(place)), entry(152), waiting];
  const asked = fakeServer({ "/audit/recent": () => page }).asked;
  const { result } = renderHook(() => useEntries(filters, true));
  await passed(0);
  act(() => result.current.more());
  await passed(0);
  expect(asked.at(-1)).toMatch(/before=152(&|$)/);
});

test("the last page ends the list until newer entries push it out", async () => {
  const result = await twoPages();
  act(() => result.current.more());
  await passed(0);
  expect(result.current.isAll).toBe(true);
  expect(sequences(result.current.entries)).toEqual(run(250, 250));
  nThere += 1;
  await passed(60_000);
  expect(result.current.isAll).toBe(false);
  act(() => result.current.more());
  await passed(0);
  expect(sequences(result.current.entries)).toEqual(run(251, 251));
  expect(result.current.isAll).toBe(true);
});
