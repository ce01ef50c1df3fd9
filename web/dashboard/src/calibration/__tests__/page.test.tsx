import { render, screen } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { afterEach, expect, test, vi } from "vitest";

import type { Version } from "../../api/wire";
import { fakeServer } from "../../testing/server";
import { CalibrationPage } from "../CalibrationPage";

afterEach(() => {
  vi.unstubAllGlobals();
});

function champion(name: string, kind: Version["kind"]): Version {
  return {
    model: name,
    number: 1,
    name,
    kind,
    digest: "d",
    uri: `models:/${name}/1`,
    created_s: 1,
    aliases: ["champion"],
    metadata: {},
  };
}

test("of several champions the evaluated one is shown first", async () => {
  const versions = [champion("texts", "llm-classifier"), champion("prices", "callable")];
  const server = fakeServer({
    "/versions": () => ({ revision: 1, versions, aliases: {} }),
    "/versions/texts/calibration": () => ({ version: "texts", charts: {} }),
  });
  render(
    <MemoryRouter>
      <CalibrationPage />
    </MemoryRouter>,
  );
  await screen.findByText(/drew no chart/);
  expect(screen.getByLabelText("Version")).toHaveProperty("value", "texts");
  expect(server.asked).not.toContain("GET /versions/prices/calibration");
});
