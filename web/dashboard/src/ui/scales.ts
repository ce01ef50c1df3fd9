/** A value's step on one of the two colour ramps of `styles.css`. */
export type Scale = {
  /** What the colour means. */
  title: string;
  /** `doubt` is darker for less sure, `sure` darker for more probable. */
  ramp: "doubt" | "sure";
  /** What each step stands for, step 0 first. */
  labels: readonly string[];
  /** Step of a value, 0 to 7. */
  levelOf: (value: number) => number;
};

/** Step 0 lies beyond the first edge in the direction of the scale. */
function steps(value: number, edges: readonly number[], rising: boolean): number {
  const crossed = edges.filter((edge) => (rising ? value >= edge : value < edge));
  return crossed.length;
}

const FALLING = [0.9, 0.75, 0.5, 0.25, 0.1, 0.03, 0.01] as const;
const NATS = [0.1, 0.3, 0.7, 1.2, 2, 3, 4] as const;
const RISING = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9] as const;

export const probabilityDoubt: Scale = {
  title: "Probability of the token",
  ramp: "doubt",
  labels: ["≥ .9", "≥ .75", "≥ .5", "≥ .25", "≥ .1", "≥ .03", "≥ .01", "< .01"],
  levelOf: (prob) => steps(prob, FALLING, false),
};

export const entropyDoubt: Scale = {
  title: "Entropy before the token, nats",
  ramp: "doubt",
  labels: ["< .1", "≥ .1", "≥ .3", "≥ .7", "≥ 1.2", "≥ 2", "≥ 3", "≥ 4"],
  levelOf: (nats) => steps(nats, NATS, true),
};

export const probabilitySure: Scale = {
  title: "Probability of the layer’s best token",
  ramp: "sure",
  labels: ["< .01", "≥ .01", "≥ .05", "≥ .1", "≥ .25", "≥ .5", "≥ .75", "≥ .9"],
  levelOf: (prob) => steps(prob, RISING, true),
};

export const finalSure: Scale = {
  title: "Probability of the model’s own choice",
  ramp: "sure",
  labels: probabilitySure.labels,
  levelOf: probabilitySure.levelOf,
};
