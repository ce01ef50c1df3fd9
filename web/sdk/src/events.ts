/** Server-sent events out of bytes. */

/** One message of a stream. */
export type Message = {
  /** What it is about; `message` where the server gave no name. */
  event: string;
  data: string;
};

const END = /\r\n\r\n|\n\n|\r\r/;

/** Characters of what came before in which an end may have begun. */
const OVERLAP = 3;

/**
 * The messages in some bytes, one after the other, until the end.
 *
 * Source: WHATWG HTML, section 9.2.6; `id:` and `retry:` are not used here. A message that the end
 * cuts off is not passed on.
 */
export async function* messages(
  parts: AsyncIterable<Uint8Array>,
): AsyncGenerator<Message, void, undefined> {
  const decoder = new TextDecoder();
  // The last message of a text may hold all hidden states: it is put together once, when it is whole.
  let held: string[] = [];
  let tail = "";
  for await (const part of parts) {
    const text = decoder.decode(part, { stream: true });
    held.push(text);
    tail += text;
    if (!END.test(tail)) {
      tail = tail.slice(-OVERLAP);
      continue;
    }
    const blocks = held.join("").split(END);
    tail = blocks.pop() ?? "";
    held = [tail];
    for (const block of blocks) {
      const data = fieldOf(block, "data");
      if (data !== "") yield { event: fieldOf(block, "event") || "message", data };
    }
    tail = tail.slice(-OVERLAP);
  }
}

function fieldOf(block: string, name: string): string {
  return block
    .split(/\r\n|\n|\r/)
    .filter((line) => line.startsWith(`${name}:`))
    .map((line) => line.slice(name.length + 1).replace(/^ /, ""))
    .join("\n");
}
