import { fireEvent, render, screen, within } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { afterEach, expect, test, vi } from "vitest";

import type { Version } from "../../api/wire";
import { fakeServer } from "../../testing/server";
import { VersionsPage } from "../VersionsPage";

afterEach(() => {
  vi.unstubAllGlobals();
});

function version(model: string, number: number, created_s: number): Version {
  return {
    model,
    number,
    name: `${model}_v${number}`,
    kind: "callable",
    digest: "d",
    uri: `models:/${model}/${number}`,
    created_s,
    aliases: [],
    metadata: {},
  };
}

/** Versions as the server lists them: by model, each model's in the order of registration. */
function see(versions: readonly Version[], aliases: Record<string, Record<string, number>> = {}) {
  fakeServer({
    "/versions": () => ({ revision: 1, versions, aliases }),
    "/versions/history": () => [],
  });
  render(
    <MemoryRouter>
      <VersionsPage />
    </MemoryRouter>,
  );
}

async function names() {
  const table = await screen.findByRole("table", { name: /^Registered versions/ });
  return within(table)
    .getAllByRole("button")
    .map((each) => each.textContent);
}

test("the newest version comes first, whichever model it is of", async () => {
  see([version("prices", 1, 30), version("prices", 2, 50), version("texts", 1, 40)]);
  expect(await names()).toEqual(["prices_v2", "texts_v1", "prices_v1"]);
});

test("a model without any alias can be chosen as well", async () => {
  see([version("prices", 1, 1), version("texts", 1, 2)], { prices: { champion: 1 } });
  fireEvent.change(await screen.findByLabelText("Model"), { target: { value: "texts" } });
  expect(await names()).toEqual(["texts_v1"]);
});

test("one of many versions is found by a part of its name", async () => {
  see(Array.from({ length: 500 }, (_, at) => version("prices", at + 1, at)));
  fireEvent.change(await screen.findByLabelText("Name contains"), { target: { value: "_v49" } });
  expect(await names()).toContain("prices_v490");
  fireEvent.change(screen.getByLabelText("Name contains"), { target: { value: "nothing" } });
  await screen.findByText("No version has such a name.");
});
