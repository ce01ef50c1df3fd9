/**
 * The data of server-sent events, one after the other, until `[DONE]` or the end.
 *
 * Source: WHATWG HTML, section 9.2.6; only `data:` lines are used here.
 */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
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
        const data = dataOf(block);
        if (data === "[DONE]") return;
        if (data !== "") yield data;
      }
      if (done) return;
    }
  } finally {
    // Leaving early (stop button, error) tells the server that nobody listens.
    await reader.cancel().catch(() => undefined);
  }
}

function dataOf(block: string): string {
  return block
    .split(/\r?\n/)
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).replace(/^ /, ""))
    .join("\n");
}
