import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

/** The pairs of the style sheet: name, colour in the light scheme, colour in the dark one. */
const sheet = readFileSync("src/styles.css", "utf8");
const tokens = new Map(
  [...sheet.matchAll(/--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)].map(
    ([, name = "", light = "", dark = ""]) => [name, { light, dark }],
  ),
);

/** Source: WCAG 2.2, definition of relative luminance. */
function luminance(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const channel = parseInt(hex.slice(at, at + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

const schemes = ["light", "dark"] as const;

function colour(name: string, scheme: (typeof schemes)[number]): string {
  const pair = tokens.get(name);
  if (pair === undefined) throw new Error(`no colour ${name}`);
  return pair[scheme];
}

const levels = [0, 1, 2, 3, 4, 5, 6, 7];

test.each(schemes)("text can be read on every colour: 4.5 to 1 or more (%s)", (scheme) => {
  const pairs = [
    ...levels.flatMap((level) => [
      [`on-doubt-${level}`, `doubt-${level}`],
      [`on-sure-${level}`, `sure-${level}`],
    ]),
    ...["page", "surface", "sunken"].flatMap((ground) => [
      ["ink", ground],
      ["muted", ground],
    ]),
    ["on-accent", "accent"],
    ["on-accent", "accent-strong"],
    ["accent-strong", "accent-soft"],
    ["danger", "danger-soft"],
    ["ink", "danger-soft"],
    ["warning", "surface"],
    ["warning", "warning-soft"],
    ["ink", "warning-soft"],
    ["good", "good-soft"],
    ["good", "sunken"],
    ["warning", "sunken"],
    ["danger", "sunken"],
    ["on-accent", "danger"],
  ] as const;
  for (const [text = "", ground = ""] of pairs) {
    const found = contrast(colour(text, scheme), colour(ground, scheme));
    expect(found, `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
  }
});

test.each(schemes)("borders of fields and bars stand out: 3 to 1 or more (%s)", (scheme) => {
  for (const ground of ["surface", "sunken"]) {
    for (const mark of ["field-line", "accent", "one", "two", "three", "good", "danger"]) {
      const found = contrast(colour(mark, scheme), colour(ground, scheme));
      expect(found, `${mark} on ${ground}`).toBeGreaterThanOrEqual(3);
    }
  }
});

test.each(schemes)("each ramp goes one way in lightness, so it needs no hue (%s)", (scheme) => {
  for (const ramp of ["doubt", "sure"]) {
    const light = levels.map((level) => luminance(colour(`${ramp}-${level}`, scheme)));
    const sorted = [...light].sort((a, b) => (scheme === "light" ? b - a : a - b));
    expect(light).toEqual(sorted);
    light.slice(1).forEach((value, at) => {
      const ratio =
        (Math.max(value, light[at] ?? 0) + 0.05) / (Math.min(value, light[at] ?? 0) + 0.05);
      expect(ratio, `${ramp}-${at} and ${ramp}-${at + 1}`).toBeGreaterThan(1.05);
    });
  }
});
