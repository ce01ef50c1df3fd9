import { render, screen } from "@testing-library/react";
import { expect, test } from "vitest";

import type { FeatureDrift } from "../../api/wire";
import { binNames, Distributions } from "../Distributions";

const feature: FeatureDrift = {
  name: "n_tokens",
  kind: "numeric",
  statistics: { psi: 0.4 },
  effect: 0.4,
  p_value: 0.001,
  p_adjusted: 0.01,
  limit: 0.1,
  drifted: true,
  edges: [0, 10, 20],
  reference: [0.5, 0.5],
  current: [0.1, 0.9],
};

test("bins are named by their bounds, open ones too", () => {
  expect(binNames([0, 10, 20], 2)).toEqual(["0 to 10", "10 to 20"]);
  expect(binNames([10, 20], 3)).toEqual(["below 10", "10 to 20", "from 20"]);
  expect(binNames(["a", "b"], 3)).toEqual(["a", "b", "other"]);
});

test("both distributions are said in words", () => {
  render(<Distributions feature={feature} />);
  const picture = screen.getByRole("img");
  expect(picture.getAttribute("aria-label")).toContain("0 to 10: 50 % and 10 %");
});

test("categories are drawn as pairs of bars", () => {
  const { container } = render(
    <Distributions feature={{ ...feature, edges: ["negative", "positive"] }} />,
  );
  expect(container.querySelectorAll("svg[role=img] rect")).toHaveLength(4);
});
