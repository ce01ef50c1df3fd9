import { type Message, messages as messagesIn } from "../../../sdk/src/events";

/**
 * Server-sent events one after the other, until the end.
 *
 * Read from a fetch, because the browser's own EventSource cannot send a key.
 */
export function messages(body: ReadableStream<Uint8Array>): AsyncGenerator<Message> {
  return messagesIn(partsOf(body));
}

/** The data of server-sent events, one after the other, until `[DONE]` or the end. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  for await (const { data } of messages(body)) {
    if (data === "[DONE]") return;
    yield data;
  }
}

/** The parts of a body: not every browser goes through a stream by itself. */
async function* partsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    // Leaving early (stop button, error) tells the server that nobody listens.
    await reader.cancel().catch(() => undefined);
  }
}
