/** Hidden states of given texts: what `POST /v1/states` sends as safetensors. */
import { foreign, objectIn } from "./problems.js";
import type { Schemas } from "./routes.js";
import { fromSafetensors, type Tensor } from "./safetensors.js";

export const SAFETENSORS_TYPE = "application/vnd.safetensors";

/** Key of the metadata under which the answer stands as JSON, its arrays left out. */
const DETAILS_KEY = "glassbox";

/** Hidden states of one place. */
export type PlaceStates = Omit<Schemas["StatesAnswered"], "mean" | "last" | "none"> & {
  /** Mean vector over the positions. */
  mean?: Float32Array;
  /** Vector of the last position. */
  last?: Float32Array;
  /** Every position's vector, in order. */
  none?: Float32Array[];
};

/** Hidden states of one text. */
export type TextStates = Omit<Schemas["TextStates"], "states"> & {
  /** In the order of the places asked for. */
  states: PlaceStates[];
};

/** The states of each text, in order. */
export function readStates(content: Uint8Array): TextStates[] {
  const { tensors, metadata } = fromSafetensors(content);
  const text = metadata[DETAILS_KEY];
  if (typeof text !== "string") throw foreign(`its metadata has no '${DETAILS_KEY}'`);
  const details = objectIn(JSON.parse(text)) as Schemas["StatesListAnswered"] | undefined;
  if (!Array.isArray(details?.data)) throw foreign("it has no texts");
  return details.data.map((each) => ({
    ...each,
    states: each.states.map((place) => withArrays(place, each.index, tensors)),
  }));
}

function withArrays(
  place: Schemas["StatesAnswered"],
  index: number,
  tensors: ReadonlyMap<string, Tensor>,
): PlaceStates {
  const { mean: _mean, last: _last, none: _none, ...rest } = place;
  const whole: PlaceStates = rest;
  const name = `${index}.layer_${place.layer}.${place.site}`;
  const mean = tensors.get(`${name}.mean`);
  const last = tensors.get(`${name}.last`);
  const none = tensors.get(`${name}.none`);
  if (mean != null) whole.mean = mean.data;
  if (last != null) whole.last = last.data;
  if (none != null) whole.none = rows(none);
  return whole;
}

function rows({ shape, data }: Tensor): Float32Array[] {
  const [n = 0, width = 0] = shape;
  return Array.from({ length: n }, (_, row) => data.subarray(row * width, (row + 1) * width));
}
