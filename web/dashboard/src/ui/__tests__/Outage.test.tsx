import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import { Problem } from "../../api/problem";
import type { Resource } from "../../api/useResource";
import { Page } from "../Page";
import { Shown } from "../Shown";

const loading = new Problem(
  "The server is not ready",
  "The model is being loaded.",
  503,
  "not-ready",
);
const missing = new Problem("There is no such thing here", "No rollout.", 404, "unknown-name");

function failing(problem: Problem | null, data: string | null = null): Resource<string> {
  return { data, problem, loading: false, updatedAt: null, refresh: vi.fn() };
}

function Parts({ parts }: { parts: readonly Resource<string>[] }) {
  return (
    <Page title="Overview" about="All">
      {parts.map((resource, at) => (
        <Shown key={at} resource={resource} what="it">
          {(data) => <p>{data}</p>}
        </Shown>
      ))}
    </Page>
  );
}

test("what keeps every part of a page from an answer is said once, and tried again at once", async () => {
  const parts = [failing(loading), failing(loading), failing(loading, "older")];
  const { rerender } = render(<Parts parts={parts} />);
  expect(screen.getAllByRole("alert")).toHaveLength(1);
  expect(screen.getAllByText("Not known.")).toHaveLength(2);
  expect(screen.getByText("older")).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: "Try again" }));
  for (const { refresh } of parts) expect(refresh).toHaveBeenCalledOnce();
  rerender(<Parts parts={[failing(null, "one"), failing(null, "two"), failing(null, "three")]} />);
  expect(screen.queryByRole("alert")).toBeNull();
});

test("only what is asked for again by itself is said to be", () => {
  const { rerender } = render(<Parts parts={[failing(loading, "older")]} />);
  expect(screen.getByText(/^What you see below.*by itself\.$/)).toBeTruthy();
  const refused = new Problem("This key does not allow it", "It needs admin.", 403);
  rerender(<Parts parts={[failing(refused, "older")]} />);
  expect(screen.getByText("What you see below is the last answer.")).toBeTruthy();
  expect(screen.queryByText(/by itself/)).toBeNull();
});

test("what is the matter with one part stays with it", () => {
  render(<Parts parts={[failing(missing), failing(loading)]} />);
  expect(screen.getAllByRole("alert").map((each) => each.textContent)).toEqual([
    expect.stringContaining("not ready"),
    expect.stringContaining("No rollout."),
  ]);
});
