import { expect, test } from "vitest";

import { ticks } from "../../charts/scale";
import {
  clock,
  count,
  counted,
  inked,
  milliseconds,
  percent,
  percentTick,
  pValue,
  short,
  span,
  tick,
} from "../format";

test.each([
  [[0, 0.013], "0 %|0.5 %|1 %"],
  [[0, 0.2], "0 %|5 %|10 %|15 %|20 %"],
] as const)("shares on the axis %j are told apart", (domain, texts) => {
  expect(ticks(domain, 4).map(percentTick).join("|")).toBe(texts);
});

test.each([
  [[0.98701, 0.98741], "0.9871|0.9872|0.9873|0.9874"],
  [[1000, 1002], "1,000|1,000.5|1,001|1,001.5|1,002"],
  [[0, 2e6], "0|5.00e+5|1.00e+6|1.50e+6|2.00e+6"],
] as const)("values on the axis %j are told apart", (domain, texts) => {
  expect(ticks(domain, 4).map(tick).join("|")).toBe(texts);
});

test.each([
  [null, "–"],
  [0, "0.0 %"],
  [0.0123, "1.2 %"],
  [0.99999, "> 99.9 %"],
  [1, "100.0 %"],
])("the share %s reads %s", (share, text) => {
  expect(percent(share)).toBe(text);
});

test.each([
  [0, "0"],
  [0.000012, "1.2e-5"],
  [0.02134, "0.0213"],
  [-3.14159, "-3.14"],
  [1840, "1,840"],
  [null, "–"],
])("%s in three digits reads %s", (value, text) => {
  expect(short(value)).toBe(text);
});

test("times and spans keep their unit", () => {
  expect(milliseconds(0.25)).toBe("0.25 ms");
  expect(milliseconds(7.61)).toBe("7.6 ms");
  expect(milliseconds(1771)).toBe("1.77 s");
  expect(milliseconds(31_000)).toBe("31.0 s");
  expect([span(12), span(3600), span(7200), span(86_400 * 9)]).toEqual([
    "12 s",
    "60 min",
    "2 h",
    "9 days",
  ]);
  expect(count(12_345.4)).toBe("12,345");
});

test("another day's time carries its date", () => {
  const at = new Date(2026, 2, 9, 13, 5, 7);
  expect(clock(at.getTime() / 1000, at)).toBe("13:05:07");
  expect(clock(at.getTime() / 1000, new Date(2026, 2, 10))).toBe("2026-03-09 13:05:07");
});

test("a tiny p-value reads as smaller than a limit", () => {
  expect([pValue(0), pValue(0.00009), pValue(0.03), pValue(null)]).toEqual([
    "< 0.0001",
    "< 0.0001",
    "0.03",
    "–",
  ]);
});

test("one thing is not told as many", () => {
  expect([counted(1, "row"), counted(1_234, "row"), counted(0, "copy", "copies")]).toEqual([
    "1 row",
    "1,234 rows",
    "0 copies",
  ]);
});

test.each([
  ["\u200d", "⟨U+200D⟩"],
  ["\ufe0f", "⟨U+FE0F⟩"],
  ["\u0301", "◌\u0301"],
  ["\u0000a", "⟨U+0000⟩a"],
  ["a\u202eb", "a⟨U+202E⟩b"],
  ["👨\u200d👩", "👨\u200d👩"],
  ["❤\ufe0f", "❤\ufe0f"],
  ["e\u0301", "e\u0301"],
  ["\n\t", "\n\t"],
  ["漢字 שלום", "漢字 שלום"],
])("of %j everything can be seen", (text, shown) => {
  expect(inked(text)).toBe(shown);
});
