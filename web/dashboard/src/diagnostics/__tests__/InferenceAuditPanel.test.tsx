import { render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, test, vi } from "vitest";

import { entry, registry, summary } from "../../testing/samples";
import { fakeServer } from "../../testing/server";
import { InferenceAuditPanel } from "../InferenceAuditPanel";

afterEach(() => {
  vi.unstubAllGlobals();
});

const answers = {
  "/audit/summary": () => summary,
  "/audit/recent": () => [
    entry(4, { shadow_diff: 0.01 }),
    entry(3, { shadow_diff: 0.4 }),
    entry(2, { shadow_diff: null, shadow_status: "timeout" }),
    entry(1, { status: "error", error_code: "invalid-value", prediction: null, label: null }),
  ],
  "/registry": () => registry,
};

test("it shows who answers, how well, and each difference on the colour of its size", async () => {
  fakeServer(answers);
  render(<InferenceAuditPanel />);
  expect(await screen.findAllByText("default_model_v1")).not.toHaveLength(0);
  expect(screen.getByText("99.5 %")).toBeTruthy();
  expect(screen.getByText("7 answers carry no confidence.")).toBeTruthy();
  const rows = within(screen.getByRole("table", { name: /Latest predictions/ }));
  const close = rows.getByText("0.010").parentElement;
  const far = rows.getByText("0.400").parentElement;
  expect(close?.className).toContain("text-good");
  expect(far?.className).toContain("text-danger");
  expect(far?.textContent).toContain("far apart");
  expect(rows.getByText("too slow")).toBeTruthy();
  expect(rows.getByText("invalid-value")).toBeTruthy();
});

test("answers without a confidence are no empty chart", async () => {
  const confidence_histogram = { "0.0-0.2": 0, "0.8-1.0": 0 };
  fakeServer({ ...answers, "/audit/summary": () => ({ ...summary, confidence_histogram }) });
  render(<InferenceAuditPanel />);
  expect(await screen.findByText("No answer carries a confidence")).toBeTruthy();
});

test("a failure can be tried again by hand", async () => {
  const server = fakeServer(answers);
  server.fail(503);
  render(<InferenceAuditPanel />);
  expect((await screen.findByRole("alert")).textContent).toContain("It is broken.");
  server.mend();
  await userEvent.click(screen.getByRole("button", { name: "Try again" }));
  expect(await screen.findByText("99.5 %")).toBeTruthy();
  expect(screen.queryByRole("alert")).toBeNull();
});

test("polling is paused and goes on; the list may be left out", async () => {
  fakeServer(answers);
  render(<InferenceAuditPanel showRecent={false} />);
  await userEvent.click(await screen.findByRole("button", { name: "Pause" }));
  expect(screen.getByRole("button", { name: "Paused: go on" }).ariaPressed).toBe("true");
  expect(screen.queryByText("Latest predictions")).toBeNull();
});

test("an empty window is said to be empty, with the command that fills it", async () => {
  fakeServer({
    ...answers,
    "/audit/recent": () => [],
    "/audit/summary": () => ({
      ...summary,
      rolling_count: 0,
      shadow_enabled: false,
      shadow_model: null,
      shadow_avg_diff: null,
      avg_latency_ms: null,
      success_rate: null,
      prediction_mean: null,
      confidence_histogram: { "0.0-0.2": 0, "0.8-1.0": 0 },
    }),
  });
  const { container } = render(<InferenceAuditPanel />);
  expect(await screen.findByText("Nothing was predicted yet")).toBeTruthy();
  expect(screen.getByText("No challenger is being tried")).toBeTruthy();
  expect(container.textContent).not.toContain("NaN");
  expect(container.textContent).not.toContain("null");
});
