import { render, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { MemoryRouter } from "react-router";
import { expect, test, vi } from "vitest";

import type { Graph, LatentCardData, Pathway, Study } from "../../api/wire";
import { fakeServer } from "../../testing/server";
import { mark } from "../Contexts";
import { GraphPicture, target } from "../GraphPicture";
import { layout } from "../layout";
import { PathwaysPage } from "../PathwaysPage";
import { conditionWords, verdictOf } from "../words";

const graph: Graph = {
  nodes: [
    { name: "token: win", kind: "token", label: " win" },
    { name: "L1-5", kind: "latent", label: "L1-5", layer: 1, on_path: true },
    { name: "L1-9", kind: "latent", label: "L1-9", layer: 1 },
    { name: "L3-2", kind: "latent", label: "L3-2", layer: 3, on_path: true },
    { name: "decision", kind: "logit", label: "decision" },
  ],
  edges: [
    { source: "token: win", target: "L1-5", weight: 0.9 },
    { source: "L1-5", target: "L3-2", weight: 0.5, verified: true },
    { source: "L1-9", target: "L3-2", weight: -0.2, verified: false },
    { source: "L3-2", target: "decision", weight: -0.7, verified: true },
  ],
  n_nodes: 12,
  n_edges: 40,
};

const pathway: Pathway = {
  source: "L1-5",
  target: "L3-2",
  source_layer: 1,
  target_layer: 3,
  attribution_share: 0.42,
  mediated: 0.1,
  effect: -1.25,
  q: 0.003,
  verified: true,
};

const study: Study = {
  name: "slots",
  title: "Slots",
  model: "tiny",
  made_s: 1_760_000_000,
  n_latents: 3,
  n_replayed: 10,
  n_verified: 4,
  n_candidates: 30,
  n_tokens: 7,
  n_expected_by_chance: 1.5,
  calibration: { spearman: 0.91, slope: 1.02 },
  warnings: ["Nothing was left out."],
  paths: [{ nodes: ["token: win", "L1-5", "L3-2", "decision"], weight: -0.3, verified: true }],
};

const latent = {
  name: "L3-2",
  layer: 3,
  index: 2,
  hedges_g: 1.1,
  effect_low: 0.5,
  effect_high: 1.7,
};

const card: LatentCardData = {
  latent,
  histogram: { edges: [0, 1, 2], counts: [5, 2] },
  contexts: [
    { tokens: ["You", " win"], activations: [0, 2], peak: 1, condition: "risky_baseline" },
  ],
  tokens: [{ latent: "L3-2", token: " win", z: 8, q: 0.0001, q_shift: 0.001 }],
  promoted: [{ token: " continue", token_id: 4, logit: 2.5 }],
  rates: [
    { condition: "safe_baseline", n_trials: 30, n_stop: 24, stop_share: 0.8, low: 0.62, high: 0.9 },
  ],
  upstream: [pathway],
};

const answers = {
  "/v1/pathways": () => ({
    studies: [
      { ...study, problem: null },
      { ...study, name: "torn", problem: "study.json is damaged" },
    ],
  }),
  "/v1/pathways/slots": () => study,
  "/v1/pathways/slots/graph": () => graph,
  "/v1/pathways/slots/pathways": () => ({ pathways: [pathway], n_rows: 1 }),
  "/v1/pathways/slots/latents": () => ({ latents: [latent] }),
  "/v1/pathways/slots/latents/L3-2": () => card,
};

function open(address = "/pathways") {
  render(
    <MemoryRouter initialEntries={[address]}>
      <PathwaysPage />
    </MemoryRouter>,
  );
}

test("a study opens with its figures, graph and tables", async () => {
  fakeServer(answers);
  open();
  expect(await screen.findByRole("heading", { name: "Slots" })).toBeTruthy();
  expect(screen.getByText("4 of 10")).toBeTruthy();
  expect(screen.getByText("1.5 expected by chance")).toBeTruthy();
  expect(screen.getByText("Nothing was left out.")).toBeTruthy();
  expect(await screen.findByRole("table", { name: "Table of pathways" })).toBeTruthy();
  expect(screen.getByText("42.0 %")).toBeTruthy();
  expect(screen.getByText(/towards continuing/)).toBeTruthy();
  expect(screen.getByRole("option", { name: "torn (damaged)" })).toBeTruthy();
});

test("a latent chosen anywhere shows what fires it and what it does", async () => {
  fakeServer(answers);
  open();
  const table = await screen.findByRole("table", { name: "Table of latents" });
  await userEvent.click(within(table).getByRole("button", { name: "L3-2" }));
  expect(await screen.findByRole("heading", { name: "L3-2" })).toBeTruthy();
  expect(await screen.findByText("1.1 (0.5 to 1.7)", { selector: "dd" })).toBeTruthy();
  expect(screen.getByText("safe baseline")).toBeTruthy();
  expect(screen.getByText(/continue 2.5/)).toBeTruthy();
  expect(screen.getByTitle("␣win: 2").dataset.sure).toBe("7");
  expect(screen.getByRole("region", { name: "Driven by" })).toBeTruthy();
});

test("the report is saved under the study's name", async () => {
  const server = fakeServer({ ...answers, "/v1/pathways/slots/report": () => "<html></html>" });
  const saved: string[] = [];
  vi.stubGlobal(
    "URL",
    Object.assign(URL, { createObjectURL: () => "blob:1", revokeObjectURL: vi.fn() }),
  );
  vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (
    this: HTMLAnchorElement,
  ) {
    saved.push(this.download);
  });
  open();
  await userEvent.click(await screen.findByRole("button", { name: "Save report" }));
  await waitFor(() => {
    expect(saved).toEqual(["slots.html"]);
  });
  expect(server.asked).toContain("GET /v1/pathways/slots/report");
});

test("a report that is not there says why", async () => {
  fakeServer(answers);
  open();
  await userEvent.click(await screen.findByRole("button", { name: "Save report" }));
  expect((await screen.findByRole("alert")).textContent).toContain("no /v1/pathways/slots/report");
});

test("pathways are asked for as they are wanted", async () => {
  const server = fakeServer(answers);
  open("/pathways?study=slots&latent=L3-2");
  await screen.findByRole("table", { name: "Table of pathways" });
  await userEvent.click(screen.getByRole("radio", { name: "confirmed" }));
  await userEvent.click(screen.getByRole("radio", { name: "into it" }));
  await userEvent.selectOptions(screen.getByRole("combobox", { name: "Ordered by" }), "effect");
  await waitFor(() => {
    const asked = server.asked.at(-1) ?? "";
    expect(asked).toContain("order=effect");
    expect(asked).toContain("verified=true");
    expect(asked).toContain("target=L3-2");
  });
});

test("a server without studies says where it looks", async () => {
  fakeServer({ "/v1/pathways": () => ({ studies: [] }) });
  open();
  expect(await screen.findByText("There is no finished study")).toBeTruthy();
  expect(screen.getByText("glassbox serve --studies FOLDER")).toBeTruthy();
});

test("nodes stand in columns from tokens to the decision", () => {
  const placed = layout(graph);
  expect(placed.columns.map(({ name }) => name)).toEqual([
    "tokens",
    "layer 1",
    "layer 3",
    "decision",
  ]);
  const xs = placed.nodes.map(({ name, x }) => [name, x] as const);
  const x = new Map(xs);
  for (const { source, target: end } of graph.edges) {
    expect(x.get(source)).toBeLessThan(x.get(end) ?? 0);
  }
  const places = placed.nodes.map(({ x: left, y }) => `${left} ${y}`);
  expect(new Set(places).size).toBe(graph.nodes.length);
});

test("arrow keys lead through the graph and Enter chooses a latent", async () => {
  const onChoose = vi.fn();
  render(<GraphPicture graph={graph} chosen={null} onChoose={onChoose} />);
  const token = screen.getByRole("button", { name: "token win, 0 in, 1 out" });
  token.focus();
  await userEvent.keyboard("{ArrowRight}");
  expect(document.activeElement?.getAttribute("aria-label")).toMatch(/^latent L1-/);
  await userEvent.keyboard("{ArrowRight}{Enter}");
  expect(onChoose).toHaveBeenCalledWith("L3-2");
  await userEvent.keyboard("{ArrowRight}{Enter}");
  expect(onChoose).toHaveBeenCalledTimes(1);
  const stops = screen.getAllByRole("button").filter((node) => node.tabIndex === 0);
  expect(stops).toHaveLength(1);
});

test("keys stay inside the graph", () => {
  const { nodes } = layout(graph);
  expect(target("ArrowLeft", nodes, 0)).toBe(0);
  expect(target("ArrowUp", nodes, 0)).toBe(0);
  expect(target("End", nodes, 0)).toBe(nodes.length - 1);
  expect(target("a", nodes, 0)).toBeNull();
  expect(target("Home", nodes, 3)).toBe(0);
});

test("words and steps", () => {
  expect(verdictOf(null).name).toBe("not replayed");
  expect(conditionWords("risky_with_safe_patch")).toBe("risky with safe patch");
  expect(mark(0, 4)).toEqual({});
  expect(mark(0.1, 4)).toEqual({ "data-sure": 1 });
  expect(mark(4, 4)).toEqual({ "data-sure": 7 });
});
