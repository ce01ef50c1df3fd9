import { render, screen, within } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { expect, test } from "vitest";

import type { Fleet, FleetReplica } from "../../api/wire";
import { fakeServer } from "../../testing/server";
import { FleetPage } from "../FleetPage";
import { agreementOf, hasEnded, mebibytes, perSecond } from "../words";

const counters: FleetReplica["counters"] = {
  requests: { "2xx": 90, "4xx": 8, "5xx": 2 },
  prompt_tokens: 10,
  generation_tokens: 20,
  predictions: { steady: { success: 40, error: 1 } },
  shadows: { other: { ok: 39 } },
  labels: 3,
  request_s: { edges: [0.1, 1], counts: [90, 10, 0], total_s: 12, p50_s: 0.055, p99_s: 0.91 },
  prediction_s: {
    steady: { edges: [0.1], counts: [41, 0], total_s: 1, p50_s: 0.05, p99_s: 0.099 },
  },
};

function replica(id: string, changes: Partial<FleetReplica> = {}): FleetReplica {
  return {
    id,
    host: `host-${id}`,
    pid: 17,
    address: "http://127.0.0.1:8787",
    version: "0.1.0",
    model: "tiny",
    model_digest: "d".repeat(64),
    bundle_digest: "",
    adapters: [],
    status: "ready",
    started_s: 1_760_000_000,
    beat_s: 1_760_000_600,
    silent_s: 0.4,
    clock_skew_s: 0,
    revision: 3,
    routings: {
      default: {
        champion: "steady",
        challengers: ["other"],
        canary: null,
        canary_weight: 0,
        rollout_id: null,
      },
    },
    jobs: ["drift", "rollout"],
    degraded: {},
    load: { running: 1, waiting: 2, requests_per_s: 12.5, resident_bytes: 300 * 2 ** 20 },
    counters,
    ...changes,
  };
}

const fleet: Fleet = {
  time_s: 1_760_000_600,
  answered_by: "aaaa0000",
  replicas: [
    replica("aaaa0000"),
    replica("bbbb1111", {
      jobs: [],
      adapters: ["support"],
      routings: {
        default: {
          champion: "steady",
          canary: "other",
          canary_weight: 0.25,
          challengers: [],
          rollout_id: "r1",
        },
      },
    }),
    replica("cccc2222", { status: "lost", silent_s: 42, adapters: ["0123abcd".repeat(8)] }),
  ],
  agreement: { revision: 3, n_ready: 2, n_behind: 0, reached_s: 0.41 },
  totals: { ...counters, requests: { "2xx": 1200, "5xx": 12 } },
  warnings: [
    { kind: "lost", message: "cccc2222 has said nothing for 42 s.", replicas: ["cccc2222"] },
  ],
};

function show(answer: Fleet) {
  fakeServer({ "/v1/fleet": () => answer });
  render(
    <MemoryRouter>
      <FleetPage />
    </MemoryRouter>,
  );
}

test("each server has a line with its state, who answers there and what it has to do", async () => {
  show(fleet);
  const table = await screen.findByRole("table", { name: "Servers of this database" });
  const lines = within(table).getAllByRole("row").slice(1);
  expect(lines).toHaveLength(3);
  expect(lines[0]?.textContent).toContain("ready");
  expect(lines[0]?.textContent).toContain("(answers you)");
  expect(lines[0]?.textContent).toContain("host-aaaa0000, process 17");
  expect(lines[0]?.textContent).toContain("seen by other");
  expect(lines[0]?.textContent).toContain("does drift, rollout for all");
  expect(lines[0]?.textContent).toContain("300 MiB");
  expect(lines[1]?.textContent).toContain("other 25 %");
  expect(lines[1]?.textContent).toContain("adapter support");
  expect(lines[2]?.textContent).toContain("lost");
  expect(lines[2]?.textContent).toContain("adapter 0123abcd0123");
  expect(lines[2]?.textContent).not.toContain("0123abcd01234");
  expect(lines[2]?.textContent).toContain("42 s ago");
});

test("what all servers counted is shown as one", async () => {
  show(fleet);
  await screen.findByText("1,212");
  screen.getByText("25 a second now; 0.99 % failed (5xx)");
  screen.getByText("2 of 2");
  const versions = screen.getByRole("table", { name: "Predictions by version" });
  expect(within(versions).getByRole("row", { name: /^steady/ }).textContent).toContain(
    "41150.0 ms",
  );
});

test("what differs is said, and nothing where nothing does", async () => {
  show(fleet);
  await screen.findByText(/said nothing for 42 s/);
  document.body.replaceChildren();
  show({ ...fleet, warnings: [] });
  await screen.findByRole("table", { name: "Servers of this database" });
  expect(screen.queryByText("What is not as it should be")).toBeNull();
});

test("agreement is told with how long the last move took, or who is behind", () => {
  expect(agreementOf(fleet)).toEqual({
    words: "all agree",
    hint: "revision 3, reached all within 0.4 s",
    isGood: true,
  });
  const behind = { ...fleet, agreement: { revision: 4, n_ready: 2, n_behind: 1, reached_s: null } };
  expect(agreementOf(behind).words).toBe("1 behind");
  const none = {
    ...fleet,
    agreement: { revision: null, n_ready: 0, n_behind: 0, reached_s: null },
  };
  expect(agreementOf(none).words).toBe("–");
  const alone = { ...fleet, agreement: { revision: 1, n_ready: 1, n_behind: 0, reached_s: null } };
  expect(agreementOf(alone)).toMatchObject({ words: "one server", hint: "revision 1" });
});

test("servers that ended take no part in what happens now", () => {
  expect(perSecond(fleet)).toBe(25);
  expect(perSecond({ ...fleet, replicas: [] })).toBeNull();
  expect(hasEnded(replica("x", { status: "draining" }))).toBe(false);
  expect(hasEnded(replica("x", { status: "left" }))).toBe(true);
  expect(mebibytes(null)).toBe("–");
});
