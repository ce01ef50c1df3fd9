/** One message of a stream of server-sent events. */
export type Message = {
  /** What it is about; `message` where the server gave no name. */
  event: string;
  data: string;
};

/**
 * Server-sent events one after the other, until the end.
 *
 * Read from a fetch, because the browser's own EventSource cannot send a key.
 * Source: WHATWG HTML, section 9.2.6; `id:` and `retry:` are not used here.
 */
export async function* messages(body: ReadableStream<Uint8Array>): AsyncGenerator<Message> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? "";
      if (done && rest.trim() !== "") blocks.push(rest);
      for (const block of blocks) {
        const data = fieldOf(block, "data");
        if (data !== "") yield { event: fieldOf(block, "event") || "message", data };
      }
      if (done) return;
    }
  } finally {
    // Leaving early (stop button, error) tells the server that nobody listens.
    await reader.cancel().catch(() => undefined);
  }
}

/** The data of server-sent events, one after the other, until `[DONE]` or the end. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  for await (const { data } of messages(body)) {
    if (data === "[DONE]") return;
    yield data;
  }
}

function fieldOf(block: string, name: string): string {
  return block
    .split(/\r?\n/)
    .filter((line) => line.startsWith(`${name}:`))
    .map((line) => line.slice(name.length + 1).replace(/^ /, ""))
    .join("\n");
}
