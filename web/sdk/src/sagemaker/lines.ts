/** Lines out of bytes. */

/** The lines in some bytes, empty ones left out; one that the end cuts off is not passed on. */
export async function* lines(
  parts: AsyncIterable<Uint8Array>,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let held: string[] = [];
  for await (const part of parts) {
    const found = decoder.decode(part, { stream: true }).split("\n");
    const rest = found.pop() ?? "";
    for (const [at, each] of found.entries()) {
      const line = at === 0 ? held.join("") + each : each;
      if (line.trim() !== "") yield line;
    }
    if (found.length > 0) held = [];
    held.push(rest);
  }
}
