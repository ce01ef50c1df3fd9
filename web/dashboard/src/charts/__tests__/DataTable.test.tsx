import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";

import { DataTable } from "../DataTable";

test("the numbers are there once they are asked for, and gone again", async () => {
  const rows = Array.from({ length: 200 }, (_, at) => [String(at), "0.1"]);
  const { container } = render(
    <DataTable name="Evidence" head={["Requests", "Low"]} rows={rows} />,
  );
  expect(container.querySelector("table")).toBeNull();
  const line = screen.getByText("Show the numbers");
  await userEvent.click(line);
  const table = await screen.findByRole("table", { name: "Evidence" });
  expect(table.querySelectorAll("tbody tr")).toHaveLength(200);
  await userEvent.click(line);
  await expect.poll(() => container.querySelector("table")).toBeNull();
});
