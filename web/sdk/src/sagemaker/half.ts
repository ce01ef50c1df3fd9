/**
 * Vectors in half precision: `.npy` files of float16, in base64.
 *
 * Source: the NPY format, version 1.0 (numpy.lib.format); IEEE 754, binary16.
 */
import { foreign } from "../problems.js";

/** The numbers of a vector. */
export function halves(text: string): number[] {
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  } catch (error) {
    throw foreign("a vector is no base64", error);
  }
  const view = new DataView(bytes.buffer);
  const magic = String.fromCharCode(...bytes.subarray(1, 6));
  if (bytes.byteLength < 10 || bytes[0] !== 0x93 || magic !== "NUMPY" || bytes[6] !== 1) {
    throw foreign("a vector is no .npy file of version 1");
  }
  const start = 10 + view.getUint16(8, true);
  const header = new TextDecoder().decode(bytes.subarray(10, start));
  const shape = /'shape': \((\d+),\)/.exec(header);
  if (!header.includes("'descr': '<f2'") || shape == null) {
    throw foreign(`a vector is no float16 of one dimension (${header.trim()})`);
  }
  const n = Number(shape[1]);
  if (bytes.byteLength !== start + 2 * n) throw foreign("a vector is cut short");
  return Array.from({ length: n }, (_, at) => half(view.getUint16(start + 2 * at, true)));
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
