/** A probability as a fraction: three digits after the point, or fewer than one in a thousand. */
export function fraction(prob: number): string {
  if (prob > 0 && prob < 0.001) return "< 0.001";
  return prob.toFixed(3);
}

export function nats(value: number): string {
  return `${value.toFixed(2)} nats`;
}

/** A token on one line: spaces and breaks drawn as signs, nothing invisible. */
export function visible(text: string): string {
  if (text === "") return "∅";
  return text.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");
}

/** As `visible`, but a space inside or in front stays a space: for table cells. */
export function compact(text: string): string {
  const shown = text.replaceAll("\n", "↵").replaceAll("\t", "⇥");
  return shown.trim() === "" ? visible(text) : shown;
}
