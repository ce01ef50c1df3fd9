import { act, fireEvent, render, screen } from "@testing-library/react";
import { useState } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { FilterForm } from "../FilterForm";
import { filtersOf } from "../filters";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const passed = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));
const told = vi.fn();

function Page({ query = "" }: { query?: string }) {
  const [filters, setFilters] = useState(filtersOf(new URLSearchParams(query)));
  return (
    <FilterForm
      filters={filters}
      models={[]}
      versions={["reviews-v1"]}
      onChange={(changes) => {
        told(changes);
        setFilters({ ...filters, ...changes });
      }}
    />
  );
}

test("a space behind a label is told once or never, not for ever", async () => {
  told.mockClear();
  render(<Page />);
  const field = screen.getByLabelText("Label");
  fireEvent.change(field, { target: { value: "good" } });
  await passed(400);
  fireEvent.change(field, { target: { value: "good " } });
  await passed(5_000);
  expect(told.mock.calls).toEqual([[{ label: "good" }]]);
});

test("a difference with a comma says what to write", async () => {
  told.mockClear();
  render(<Page />);
  const field = screen.getByLabelText("Difference at least");
  fireEvent.change(field, { target: { value: "0,3" } });
  await passed(400);
  expect(told).not.toHaveBeenCalled();
  const hint = field.getAttribute("aria-describedby") ?? "";
  expect(document.getElementById(hint)?.textContent).toMatch(/a point, such as 0.1/);
});

test("a version that is not there any more is shown as what is filtered by", () => {
  render(<Page query="model_version=gone-v9" />);
  const field = screen.getByLabelText<HTMLSelectElement>("Version");
  expect(field.selectedOptions[0]?.textContent).toBe("gone-v9");
});
