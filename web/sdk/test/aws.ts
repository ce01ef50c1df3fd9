/** SageMaker's runtime as far as HTTP shows it: paths, headers, streams of events. */
import type { ServerResponse } from "node:http";
import { crc32 } from "node:zlib";

/** Environment in which AWS's SDK asks nobody else for credentials. */
export const CREDENTIALS = { accessKeyId: "test", secretAccessKey: "test" };

/**
 * One message of AWS's event streams.
 *
 * Source: Smithy specifications, "Amazon Event Stream Specification".
 */
export function eventMessage(headers: Record<string, string>, payload: Uint8Array): Buffer {
  const written = Object.entries(headers).map(([name, value]) => {
    const size = Buffer.alloc(3);
    size.writeUInt8(7);
    size.writeUInt16BE(Buffer.byteLength(value), 1);
    return Buffer.concat([Buffer.of(name.length), Buffer.from(name), size, Buffer.from(value)]);
  });
  const head = Buffer.concat(written);
  const message = Buffer.alloc(12 + head.length + payload.length + 4);
  message.writeUInt32BE(message.length, 0);
  message.writeUInt32BE(head.length, 4);
  message.writeUInt32BE(crc32(message.subarray(0, 8)), 8);
  head.copy(message, 12);
  message.set(payload, 12 + head.length);
  message.writeUInt32BE(crc32(message.subarray(0, -4)), message.length - 4);
  return message;
}

/** A part of an answer. */
export function payloadPart(text: string): Buffer {
  const headers = {
    ":message-type": "event",
    ":event-type": "PayloadPart",
    ":content-type": "application/octet-stream",
  };
  return eventMessage(headers, Buffer.from(text));
}

/** What ends a stream before its time. */
export function streamFault(kind: string, fields: Record<string, string>): Buffer {
  const headers = {
    ":message-type": "exception",
    ":exception-type": kind,
    ":content-type": "application/json",
  };
  return eventMessage(headers, Buffer.from(JSON.stringify(fields)));
}

/** What SageMaker answers where the container did not answer with a success. */
export function modelError(response: ServerResponse, status: number, body: string): void {
  response.writeHead(424, {
    "content-type": "application/json",
    "x-amzn-errortype": "ModelError",
  });
  response.end(
    JSON.stringify({
      Message: `Received client error (${status}) from primary with message "..."`,
      OriginalStatusCode: status,
      OriginalMessage: body,
      LogStreamArn: "arn:log",
    }),
  );
}
