import { render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { MemoryRouter, useSearchParams } from "react-router";
import { afterEach, expect, test, vi } from "vitest";

import type { Versions } from "../../api/wire";
import { changed, sameModel } from "../../app/query";
import { fakeServer } from "../../testing/server";
import { answeringModels } from "../models";
import { ModelSwitch } from "../ModelSwitch";
import { OfModel } from "../OfModel";

afterEach(() => {
  vi.unstubAllGlobals();
});

function registry(...models: string[]): Versions {
  const aliases = Object.fromEntries(models.map((name) => [name, { champion: 1 }]));
  return { revision: 1, versions: [], aliases: { ...aliases, silent: { challenger: 1 } } };
}

function Address() {
  const [query] = useSearchParams();
  return <output>{query.toString()}</output>;
}

function opened(address: string, ...models: string[]) {
  const server = fakeServer({ "/versions": () => registry(...models) });
  render(
    <MemoryRouter initialEntries={[address]}>
      <OfModel title="Page" about="about">
        {(choice) => (
          <>
            <ModelSwitch {...choice} />
            <p>about {choice.model}</p>
          </>
        )}
      </OfModel>
      <Address />
    </MemoryRouter>,
  );
  return server;
}

test("only models that answer can be chosen, the default one first", () => {
  expect(answeringModels(registry("toxicity", "default", "age"))).toEqual([
    "default",
    "age",
    "toxicity",
  ]);
  expect(answeringModels(null)).toEqual([]);
});

test("with one model there is nothing to choose, whatever its name is", async () => {
  opened("/", "toxicity");
  expect(await screen.findByText("about toxicity")).toBeTruthy();
  expect(screen.queryByLabelText("Model")).toBeNull();
});

test("a page waits for the names, and takes the default model where it cannot have them", async () => {
  const server = fakeServer({});
  server.fail(503);
  render(
    <MemoryRouter>
      <OfModel title="Page" about="about">
        {({ model }) => <p>about {model}</p>}
      </OfModel>
    </MemoryRouter>,
  );
  expect(screen.getByText("Waiting for the models")).toBeTruthy();
  expect(await screen.findByText("about default")).toBeTruthy();
});

test("the model that is chosen stands in the address, without what was about the other", async () => {
  opened("/?feature=age", "default", "toxicity");
  const box = await screen.findByLabelText("Model");
  expect(box).toHaveProperty("value", "default");
  await userEvent.selectOptions(box, "toxicity");
  expect(await screen.findByText("about toxicity")).toBeTruthy();
  expect(screen.getByRole("status").textContent).toBe("model=toxicity");
});

test("a model of the address that nobody knows stays to be seen", async () => {
  opened("/?model=gone", "default");
  expect(await screen.findByText("about gone")).toBeTruthy();
  const names = within(await screen.findByLabelText("Model")).getAllByRole("option");
  expect(names.map(({ textContent }) => textContent)).toEqual(["default", "gone"]);
});

test("another page's address keeps the model and nothing else", () => {
  const here = new URLSearchParams("model=a b&feature=age");
  expect(sameModel(here, "/drift")).toBe("/drift?model=a+b");
  expect(sameModel(here, "/rollout", { id: "r 1" })).toBe("/rollout?model=a+b&id=r+1");
  expect(sameModel(new URLSearchParams(), "/drift")).toBe("/drift");
  expect(changed(here, { feature: null, id: "1" }).toString()).toBe("model=a+b&id=1");
});
