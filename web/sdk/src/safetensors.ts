/**
 * The safetensors format, for float32 arrays.
 *
 * Source: the safetensors format (github.com/huggingface/safetensors, README, "Format"): eight
 * bytes with the length of a JSON header, the header, the arrays one after another.
 */
import { foreign, objectIn } from "./problems.js";

/** One array: its numbers row by row. */
export type Tensor = { shape: readonly number[]; data: Float32Array };

/** The arrays and texts of some safetensors bytes. */
export function fromSafetensors(content: Uint8Array): {
  tensors: Map<string, Tensor>;
  metadata: Record<string, unknown>;
} {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  if (content.byteLength < 8) throw unreadable("it is shorter than its header");
  const length = view.getBigUint64(0, true);
  if (length > BigInt(content.byteLength - 8)) throw unreadable("its header is cut short");
  const start = 8 + Number(length);
  let header: Record<string, unknown> | undefined;
  try {
    header = objectIn(JSON.parse(new TextDecoder().decode(content.subarray(8, start))));
  } catch (error) {
    throw unreadable(`its header is no JSON (${String(error)})`);
  }
  if (header == null) throw unreadable("its header is no object");
  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name !== "__metadata__") tensors.set(name, tensor(name, objectIn(entry), view, start));
  }
  return { tensors, metadata: objectIn(header.__metadata__) ?? {} };
}

function tensor(
  name: string,
  entry: Record<string, unknown> | undefined,
  view: DataView,
  start: number,
): Tensor {
  const shape = numbers(entry?.shape);
  const offsets = numbers(entry?.data_offsets);
  const [from, to] = offsets ?? [];
  if (shape == null || from == null || to == null) throw unreadable(`${name} is not described`);
  if (entry?.dtype !== "F32") {
    throw unreadable(`${name} is ${String(entry?.dtype)}; this reads F32`);
  }
  const n = shape.reduce((product, each) => product * each, 1);
  if (to - from !== 4 * n || start + to > view.byteLength) throw unreadable(`${name} is cut short`);
  const data = new Float32Array(n);
  // Little-endian in the file, whatever this machine is.
  for (let at = 0; at < n; at++) data[at] = view.getFloat32(start + from + 4 * at, true);
  return { shape, data };
}

function numbers(value: unknown): number[] | undefined {
  const isWhole = (each: unknown) => Number.isSafeInteger(each) && (each as number) >= 0;
  return Array.isArray(value) && value.every(isWhole) ? (value as number[]) : undefined;
}

function unreadable(reason: string) {
  return foreign(`it is no safetensors that this reads: ${reason}`);
}
