import { cleanup, render, screen } from "@testing-library/react";
import user from "@testing-library/user-event";
import { useState } from "react";
import { afterEach, expect, test } from "vitest";

import { probabilityDoubt } from "../../ui/scales";
import { TokenText } from "../TokenText";
import type { Token } from "../tokens";

afterEach(cleanup);

const tokens: Token[] = [0.95, 0.4, 0.005].map((prob, at) => ({
  text: ` t${at}`,
  id: at,
  prob,
  entropy: 1,
  top: [],
}));

function Held() {
  const [active, setActive] = useState<number | null>(null);
  const [pinned, setPinned] = useState<number | null>(null);
  return (
    <TokenText
      tokens={tokens}
      colour="probability"
      scale={probabilityDoubt}
      active={active}
      pinned={pinned}
      onActive={setActive}
      onPin={setPinned}
    />
  );
}

test("less probable tokens stand on a darker step, and each says its numbers", () => {
  render(<Held />);
  const marks = screen.getAllByRole("option");
  expect(marks.map((mark) => mark.dataset.doubt)).toEqual(["0", "3", "7"]);
  expect(marks[1]?.getAttribute("aria-label")).toBe("␣t1, probability 0.400, entropy 1.00 nats");
});

test("arrow keys go from token to token, Enter keeps one", async () => {
  render(<Held />);
  const keys = user.setup();
  await keys.tab();
  expect(document.activeElement?.textContent).toBe(" t0");
  await keys.keyboard("{ArrowRight}{ArrowRight}{ArrowRight}");
  expect(document.activeElement?.textContent).toBe(" t2");
  await keys.keyboard("{ArrowLeft}{Enter}");
  expect(screen.getByRole("option", { selected: true }).textContent).toBe(" t1");
  await keys.keyboard("{Enter}");
  expect(screen.queryByRole("option", { selected: true })).toBeNull();
});

test("in a script that runs to the left, the arrow to the left leads on", async () => {
  render(<Held />);
  screen.getByRole("listbox").style.direction = "rtl";
  const keys = user.setup();
  await keys.tab();
  await keys.keyboard("{ArrowLeft}{ArrowLeft}");
  expect(document.activeElement?.textContent).toBe(" t2");
  await keys.keyboard("{ArrowRight}");
  expect(document.activeElement?.textContent).toBe(" t1");
});
