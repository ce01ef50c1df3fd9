import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { MemoryRouter } from "react-router";
import { afterEach, expect, test, vi } from "vitest";

import { gate, rollout } from "../../testing/samples";
import { fakeServer } from "../../testing/server";
import { gatesOf } from "../evidence";
import { RolloutHead } from "../RolloutHead";
import { StepDialog } from "../StepDialog";
import { WhyAborted } from "../WhyAborted";

afterEach(() => {
  vi.unstubAllGlobals();
});

test("rolling back asks for a reason and sends it", async () => {
  const server = fakeServer({ "/rollouts/r%201/abort": () => ({}) });
  const onClose = vi.fn();
  const onTaken = vi.fn();
  render(<StepDialog verb="abort" rollout={rollout()} onClose={onClose} onTaken={onTaken} />);
  const button = screen.getByRole<HTMLButtonElement>("button", { name: "Roll back" });
  expect(button.disabled).toBe(true);
  await userEvent.type(screen.getByLabelText("Reason"), "it is slow");
  await userEvent.click(button);
  expect(server.asked).toEqual(["POST /rollouts/r%201/abort"]);
  expect(server.bodies).toEqual([{ reason: "it is slow" }]);
  expect(onTaken).toHaveBeenCalled();
  expect(onClose).toHaveBeenCalled();
});

test("promoting in doubt must be said twice", async () => {
  const server = fakeServer({ "/rollouts/r%201/promote": () => ({}) });
  render(<StepDialog verb="promote" rollout={rollout()} onClose={vi.fn()} onTaken={vi.fn()} />);
  await userEvent.type(screen.getByLabelText("Reason"), "now");
  const button = screen.getByRole<HTMLButtonElement>("button", { name: "Promote" });
  expect(button.disabled).toBe(true);
  await userEvent.click(screen.getByRole("checkbox", { name: /Calibration/ }));
  await userEvent.click(button);
  expect(server.bodies).toEqual([{ reason: "now", force: true }]);
});

test("a promotion before the plan would is forced, whatever the gates say", async () => {
  const server = fakeServer({ "/rollouts/r%201/promote": () => ({}) });
  const passing = rollout({ gates: [gate("difference", "pass")] });
  render(<StepDialog verb="promote" rollout={passing} onClose={vi.fn()} onTaken={vi.fn()} />);
  await userEvent.type(screen.getByLabelText("Reason"), "now");
  await userEvent.click(screen.getByRole("checkbox", { name: /before the plan would/ }));
  await userEvent.click(screen.getByRole("button", { name: "Promote" }));
  expect(server.bodies).toEqual([{ reason: "now", force: true }]);
});

test("one that waits for a person, in no doubt, is promoted without force", async () => {
  const server = fakeServer({ "/rollouts/r%201/promote": () => ({}) });
  const waiting = rollout({ phase: "WaitingPromotion", gates: [gate("difference", "pass")] });
  render(<StepDialog verb="promote" rollout={waiting} onClose={vi.fn()} onTaken={vi.fn()} />);
  await userEvent.type(screen.getByLabelText("Reason"), "now");
  expect(screen.queryByRole("checkbox")).toBeNull();
  await userEvent.click(screen.getByRole("button", { name: "Promote" }));
  expect(server.bodies).toEqual([{ reason: "now" }]);
});

test("while it bakes the buttons end the bake and promote nobody", async () => {
  const server = fakeServer({ "/rollouts/r%201/finish": () => ({}) });
  const verbs = ["pause", "finish", "abort"];
  const baking = rollout({ phase: "Finalising", weight: 1, verbs });
  const onChanged = vi.fn();
  render(
    <MemoryRouter>
      <RolloutHead rollout={baking} onChanged={onChanged} />
    </MemoryRouter>,
  );
  const names = screen.getAllByRole("button").map(({ textContent }) => textContent);
  expect(names).toEqual(["End the bake…", "Pause…", "Roll back…"]);
  await userEvent.click(screen.getByRole("button", { name: "End the bake…" }));
  expect(screen.getByRole("dialog").textContent).toContain("stays champion");
  await userEvent.type(screen.getByLabelText("Reason"), "sure");
  await userEvent.click(screen.getByRole("button", { name: "End the bake" }));
  expect(server.asked).toEqual(["POST /rollouts/r%201/finish"]);
  expect(onChanged).toHaveBeenCalled();
});

test("a refusal stays in the window, and the page behind it is brought up to date", async () => {
  const server = fakeServer({});
  server.fail(409);
  const onClose = vi.fn();
  const onTaken = vi.fn();
  render(<StepDialog verb="pause" rollout={rollout()} onClose={onClose} onTaken={onTaken} />);
  await userEvent.type(screen.getByLabelText("Reason"), "lunch{Enter}");
  expect((await screen.findByRole("alert")).textContent).toContain("It is broken.");
  expect(onClose).not.toHaveBeenCalled();
  expect(onTaken).toHaveBeenCalled();
});

test("what somebody else did meanwhile is said before it is too late", async () => {
  const said = { verb: "promote", onClose: vi.fn(), onTaken: vi.fn() } as const;
  const { rerender } = render(<StepDialog {...said} rollout={rollout()} />);
  await userEvent.type(screen.getByLabelText("Reason"), "now");
  const decision = { verdict: "rollback", reason: "Aborted: it is slow." } as const;
  const ended = rollout({ phase: "Failed", verbs: [], decision });
  rerender(<StepDialog {...said} rollout={ended} />);
  expect(screen.getByRole("alert").textContent).toContain("Rolled back. Aborted: it is slow.");
  expect(screen.queryByRole("checkbox")).toBeNull();
  expect(screen.getByRole<HTMLButtonElement>("button", { name: "Promote" }).disabled).toBe(true);
});

test("gates are found in the evidence whether listed or named; other things are not gates", () => {
  const held = gate("latency", "fail");
  expect(gatesOf({ evidence: { gates: [held], weight: 0.1 } })[0]?.name).toBe("latency");
  expect(gatesOf({ evidence: { gates: { latency: { ...held, name: 1 } } } })[0]).toMatchObject({
    name: "latency",
    verdict: "fail",
    low: 0.05,
  });
  expect(gatesOf({ evidence: { latency: held } })).toHaveLength(1);
  expect(gatesOf({ evidence: { note: "none", gates: [1, null, { name: "x" }] } })).toEqual([]);
});

test("why it aborted names the gate, its interval and its limit", () => {
  const broken = gate("calibration", "fail");
  const step = {
    time_s: 1_760_000_000,
    before: "Progressing",
    after: "Failed",
    actor: "controller",
    reason: "Gate calibration failed.",
    evidence: { gates: [gate("difference", "pass"), broken], weight: 0.2 },
  };
  const aborted = rollout({ phase: "Failed", transitions: [step], weight: 0 });
  const { container } = render(<WhyAborted rollout={aborted} step={step} />);
  expect(container.textContent).toContain("Gate calibration failed.");
  expect(container.textContent).toContain("0.05 to 0.09");
  expect(container.textContent).toContain("20 % of the requests at most");
});
