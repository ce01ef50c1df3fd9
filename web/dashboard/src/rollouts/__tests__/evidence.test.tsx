import { render } from "@testing-library/react";
import { expect, test } from "vitest";

import { EvidenceCharts } from "../EvidenceCharts";

const look = { gate: "calibration", time_s: 1, value: 0.37, low: 0.05, high: 0.61, limit: 0.05 };

test("one look alone shows its interval as a bar around its estimate", () => {
  const { container } = render(<EvidenceCharts points={[{ ...look, n: 38 }]} gates={[]} />);
  const bars = container.querySelectorAll("svg[role=img] rect.opacity-30");
  expect(bars).toHaveLength(1);
  expect(Number(bars[0]?.getAttribute("height"))).toBeGreaterThan(10);
  expect(container.querySelectorAll("svg[role=img] circle")).toHaveLength(1);
});

test("several looks are a band that closes in", () => {
  const points = [
    { ...look, n: 10 },
    { ...look, n: 38 },
  ];
  const { container } = render(<EvidenceCharts points={points} gates={[]} />);
  expect(container.querySelectorAll("svg[role=img] rect.opacity-30")).toHaveLength(0);
  expect(container.querySelectorAll("svg[role=img] path.opacity-18")).toHaveLength(1);
});
