import { readFileSync } from "node:fs";

import { render, screen } from "@testing-library/react";
import { expect, test } from "vitest";

import { chartFile, panelsOf, sorted } from "../chart";
import { ChartCard, isDrawn } from "../ChartCard";

/** Written by the package's own charts; see tests/e2e/pretend_charts.py. */
const files = JSON.parse(readFileSync("src/calibration/__tests__/charts.json", "utf8")) as Record<
  string,
  unknown
>;

test.each(Object.keys(files))("%s is drawn from the JSON beside its picture", (name) => {
  const file = chartFile(name, files[name]);
  if (file === null) throw new Error("not a chart");
  expect(isDrawn(file)).toBe(true);
  const { container } = render(<ChartCard file={file} />);
  expect(screen.getByRole("region", { name: file.title })).toBeTruthy();
  expect(container.innerHTML).not.toContain("NaN");
  expect(container.innerHTML).not.toContain("undefined");
});

test("a reliability diagram has a dot for each bin that holds rows, and no other", () => {
  const name = "reliability_raw_model_output";
  const file = chartFile(name, files[name]);
  const panel = panelsOf<{ curve: { counts: number[] } }>(file?.values ?? {})[0];
  const nFilled = panel?.curve.counts.filter((each) => each > 0).length;
  if (file === null) throw new Error("not a chart");
  const { container } = render(<ChartCard file={file} />);
  expect(container.querySelectorAll("circle")).toHaveLength(nFilled ?? -1);
});

test("what is no chart is passed over, and known charts come first", () => {
  expect(chartFile("x", null)).toBeNull();
  expect(chartFile("x", { values: 3 })).toBeNull();
  const one = chartFile("some_thing", { values: {} });
  const two = chartFile("risk_coverage", { values: {} });
  if (one === null || two === null) throw new Error("not charts");
  expect(sorted([one, two]).map(({ chart }) => chart)).toEqual(["risk_coverage", "some_thing"]);
  expect(isDrawn(one)).toBe(false);
});
