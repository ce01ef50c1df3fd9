/** A probability as a fraction: three digits after the point, or fewer than one in a thousand. */
export function fraction(prob: number): string {
  if (prob > 0 && prob < 0.001) return "< 0.001";
  return prob.toFixed(3);
}

export function nats(value: number): string {
  return `${value.toFixed(2)} nats`;
}

/** What stands where a number is not known. */
export const NOTHING = "–";

/** A share for people: 0.0123 is 1.2 %. */
export function percent(share: number | null | undefined, digits = 1): string {
  if (share == null) return NOTHING;
  const shown = (100 * share).toFixed(digits);
  // All is said only where it is so.
  if (share < 1 && Number(shown) === 100) return `> ${(100 - 10 ** -digits).toFixed(digits)} %`;
  return `${shown} %`;
}

/** A share on an axis: with as many digits as it has, because ticks lie close to one another. */
export function percentTick(share: number): string {
  return `${Number((100 * share).toPrecision(10))} %`;
}

/** A round value on an axis, with as many digits as it has. */
export function tick(value: number): string {
  const size = Math.abs(value);
  if (size >= 100_000) return short(value);
  return size >= 1000
    ? value.toLocaleString("en-GB", { maximumFractionDigits: 6 })
    : String(Number(value.toPrecision(12)));
}

/** Three significant digits, without an exponent where that is readable. */
export function short(value: number | null | undefined): string {
  if (value == null) return NOTHING;
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size < 0.001) return value.toExponential(1);
  if (size >= 100_000) return value.toExponential(2);
  if (size >= 1000) return Math.round(value).toLocaleString("en-GB");
  return String(Number(value.toPrecision(3)));
}

/** A p-value; how small a tiny one is says nothing more. */
export function pValue(value: number | null | undefined): string {
  return value != null && value < 0.0001 ? "< 0.0001" : short(value);
}

export function count(value: number | null | undefined): string {
  return value == null ? NOTHING : Math.round(value).toLocaleString("en-GB");
}

/** How many of something, in the right number: 1 row, 1,234 rows. */
export function counted(value: number | null | undefined, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function milliseconds(value: number | null | undefined): string {
  if (value == null) return NOTHING;
  if (value >= 1000) return `${(value / 1000).toFixed(value >= 10_000 ? 1 : 2)} s`;
  return `${value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(2)} ms`;
}

/** A difference or probability in a table: always the same number of digits. */
export function digits(value: number | null | undefined): string {
  return value == null ? NOTHING : value.toFixed(3);
}

/** Time of day of a Unix time, with the date where it is not today's. */
export function clock(seconds: number, now: Date = new Date()): string {
  const time = new Date(seconds * 1000);
  const ofDay = time.toLocaleTimeString("en-GB");
  if (time.toDateString() === now.toDateString()) return ofDay;
  return `${day(seconds)} ${ofDay}`;
}

/** Date of a Unix time, as in 2026-03-09. */
export function day(seconds: number): string {
  const time = new Date(seconds * 1000);
  const two = (part: number) => String(part).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
}

/** A span of time in its largest unit: 90 s, 12 min, 5 h, 3 days. */
export function span(seconds: number): string {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** Controls but for line breaks and tabs, and signs that turn the direction of what follows. */
const NEVER_DRAWN = /(?![\n\t])\p{Cc}|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** What has no width of its own: joiners and selectors besides, which emoji are made with. */
const WITHOUT_WIDTH = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Variation_Selector}]/gu;

/** A text in which everything can be seen: signs without a shape by number, marks on a circle. */
export function inked(text: string): string {
  const isBare = text.replace(WITHOUT_WIDTH, "") === "";
  const named = text.replace(isBare ? WITHOUT_WIDTH : NEVER_DRAWN, (sign) => {
    const number = (sign.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    return `⟨U+${number}⟩`;
  });
  return /^\p{M}/u.test(named) ? `◌${named}` : named;
}

/** A token on one line: spaces and breaks drawn as signs, nothing invisible. */
export function visible(text: string): string {
  if (text === "") return "∅";
  return inked(text).replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");
}

/** As `visible`, but a space inside or in front stays a space: for table cells. */
export function compact(text: string): string {
  const shown = inked(text).replaceAll("\n", "↵").replaceAll("\t", "⇥");
  return shown.trim() === "" ? visible(text) : shown;
}
