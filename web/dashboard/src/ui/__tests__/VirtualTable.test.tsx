import { fireEvent, render, screen } from "@testing-library/react";
import { expect, test, vi } from "vitest";

import { VirtualTable } from "../VirtualTable";

const rows = Array.from({ length: 10_000 }, (_, at) => ({ id: `row ${at}` }));
const columns = [{ key: "id", head: "Id", cell: ({ id }: { id: string }) => id }];

function Table({ onEnd = vi.fn() }: { onEnd?: () => void }) {
  return (
    <VirtualTable name="Rows" columns={columns} rows={rows} idOf={({ id }) => id} onEnd={onEnd} />
  );
}

test("ten thousand rows are told to readers, and a few of them drawn", () => {
  render(<Table />);
  const table = screen.getByRole("table", { name: "Rows" });
  expect(table.getAttribute("aria-rowcount")).toBe("10001");
  expect(screen.getAllByRole("row").length).toBeLessThan(60);
  expect(screen.getByText("row 0")).toBeTruthy();
  expect(screen.queryByText("row 5000")).toBeNull();
});

test("scrolling shows other rows under their true place, and tells when the end is near", () => {
  const onEnd = vi.fn();
  render(<Table onEnd={onEnd} />);
  const box = screen.getByRole("region", { name: "Rows" });
  fireEvent.scroll(box, { target: { scrollTop: 38 * 5000 } });
  const row = screen.getByText("row 5000").closest("tr");
  expect(row?.getAttribute("aria-rowindex")).toBe("5002");
  expect(onEnd).not.toHaveBeenCalled();
  fireEvent.scroll(box, { target: { scrollTop: 38 * 9990 } });
  expect(screen.getByText("row 9999")).toBeTruthy();
  expect(onEnd).toHaveBeenCalled();
});

test("a head orders the rows: largest first, smallest first, as they came", () => {
  const few = [
    { id: "b", size: 2 },
    { id: "none", size: null },
    { id: "c", size: 3 },
    { id: "a", size: 1 },
  ];
  const sized = [
    ...columns,
    {
      key: "size",
      head: "Size",
      cell: ({ size }: { size: number | null }) => size,
      sortBy: ({ size }: { size: number | null }) => size,
    },
  ];
  render(
    <VirtualTable<(typeof few)[number]>
      name="Few"
      columns={sized}
      rows={few}
      idOf={({ id }) => id}
    />,
  );
  const head = screen.getByRole("columnheader", { name: /Size/ });
  const shown = () =>
    screen
      .getAllByRole("row")
      .slice(1)
      .map((row) => row.firstChild?.textContent);
  const press = () => fireEvent.click(screen.getByRole("button", { name: /Size/ }));
  expect([head.getAttribute("aria-sort"), shown()]).toEqual([null, ["b", "none", "c", "a"]]);
  press();
  expect([head.getAttribute("aria-sort"), shown()]).toEqual([
    "descending",
    ["c", "b", "a", "none"],
  ]);
  press();
  expect([head.getAttribute("aria-sort"), shown()]).toEqual(["ascending", ["a", "b", "c", "none"]]);
  press();
  expect(shown()).toEqual(["b", "none", "c", "a"]);
});
