/**
 * Every error that this package throws on purpose: the tree of the server, by its own codes.
 *
 * ```text
 * GlassboxError
 * ├── UsageError          the request is wrong: change it and call again
 * │   └── UnknownName     no such model, adapter, endpoint
 * ├── ConflictError       the state is in the way
 * │   └── VersionMismatch the other side runs a version under which this cannot work
 * ├── AccessDenied        no valid key or credentials, or they do not allow it
 * ├── CapacityError       the machine is in the way: come back later or ask for less
 * │   ├── QueueFull       too many requests wait already
 * │   ├── DeadlineExceeded
 * │   └── Unreachable     no server answers, or the answer broke off
 * ├── IntegrityError      stop: something is not what it says it is
 * └── DependencyMissing   an optional package is not installed
 * ```
 *
 * A call that is aborted by its signal throws the signal's reason, as `fetch` does.
 */
import type { components } from "./schema.js";

/** RFC 9457 problem details, as the server sends them. */
export type Problem = components["schemas"]["Problem"];

/** One wrong field of a request. */
export type FieldProblem = components["schemas"]["FieldProblem"];

/** What is known of an error beside its words. */
export type ErrorDetails = {
  /** Stable code; by default that of the class. */
  code?: string | undefined;
  /** HTTP status, where a server answered. */
  status?: number | undefined;
  /** Name of the request in the server's log. */
  requestId?: string | undefined;
  /** The wrong fields, where there are several. */
  fields?: readonly FieldProblem[] | undefined;
  /** Seconds after which to try again. */
  retryAfterS?: number | undefined;
  /** What was thrown beneath. */
  cause?: unknown;
};

/** Root of the tree: catching it catches everything this package throws on purpose. */
export class GlassboxError extends Error {
  /** Code of the class; errors of a server have the server's own. */
  static readonly code: string = "glassbox-error";
  /** Name of the class; written out, because programs for browsers shorten the names of classes. */
  override readonly name: string = "GlassboxError";
  /** Stable code, as in the reference of errors: `text-too-long`, `queue-full`. */
  readonly code: string;
  /** HTTP status, where a server answered. */
  readonly status: number | undefined;
  /** Name of the request in the server's log, where a server answered. */
  requestId: string | undefined;
  /** The wrong fields, where the server lists them. */
  readonly fields: readonly FieldProblem[];
  /** Seconds after which to try again, where somebody said so. */
  readonly retryAfterS: number | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code ?? new.target.code;
    this.status = details.status;
    this.requestId = details.requestId;
    this.fields = details.fields ?? [];
    this.retryAfterS = details.retryAfterS;
  }
}

/** The request is wrong: change it and call again. */
export class UsageError extends GlassboxError {
  static override readonly code: string = "usage";
  override readonly name: string = "UsageError";
}

/** A name that is not among the known ones. */
export class UnknownName extends UsageError {
  static override readonly code: string = "unknown-name";
  override readonly name: string = "UnknownName";
}

/** The state is in the way. */
export class ConflictError extends GlassboxError {
  static override readonly code: string = "conflict";
  override readonly name: string = "ConflictError";
}

/** The other side runs a version under which this cannot work. */
export class VersionMismatch extends ConflictError {
  static override readonly code: string = "version-mismatch";
  override readonly name: string = "VersionMismatch";
}

/** No valid key or credentials, or they do not allow it. */
export class AccessDenied extends GlassboxError {
  static override readonly code: string = "access-denied";
  override readonly name: string = "AccessDenied";
}

/** The machine is in the way: come back later or ask for less. */
export class CapacityError extends GlassboxError {
  static override readonly code: string = "capacity";
  override readonly name: string = "CapacityError";
}

/** Too many requests wait already; `retryAfterS` says when to come back. */
export class QueueFull extends CapacityError {
  static override readonly code: string = "queue-full";
  override readonly name: string = "QueueFull";
}

/** The time that a request allowed has passed. */
export class DeadlineExceeded extends CapacityError {
  static override readonly code: string = "deadline-exceeded";
  override readonly name: string = "DeadlineExceeded";
}

/** No server answers at an address, or its answer broke off. */
export class Unreachable extends CapacityError {
  static override readonly code: string = "unreachable";
  override readonly name: string = "Unreachable";
}

/** Stop: something is not what it says it is. */
export class IntegrityError extends GlassboxError {
  static override readonly code: string = "integrity";
  override readonly name: string = "IntegrityError";
}

/** An optional package is not installed; the message names it. */
export class DependencyMissing extends GlassboxError {
  static override readonly code: string = "dependency-missing";
  override readonly name: string = "DependencyMissing";
}

/** A class of the tree. */
export type ErrorClass = new (message: string, details?: ErrorDetails) => GlassboxError;

/** Class of each code that a server sends; a test holds this table to the server's own tree. */
export const CLASSES: Readonly<Record<string, ErrorClass>> = {
  "glassbox-error": GlassboxError,
  usage: UsageError,
  "unknown-name": UnknownName,
  "invalid-value": UsageError,
  "invalid-setting": UsageError,
  "invalid-data": UsageError,
  "invalid-labels": UsageError,
  "not-enough-data": UsageError,
  "text-too-long": UsageError,
  "invalid-hook-point": UsageError,
  "unsupported-model": UsageError,
  "not-shippable": UsageError,
  conflict: ConflictError,
  "adapter-mismatch": ConflictError,
  "not-shipped": ConflictError,
  "version-mismatch": VersionMismatch,
  "technique-failed": ConflictError,
  "access-denied": AccessDenied,
  capacity: CapacityError,
  "out-of-memory": CapacityError,
  "no-disk-space": CapacityError,
  "queue-full": QueueFull,
  "deadline-exceeded": DeadlineExceeded,
  unreachable: Unreachable,
  integrity: IntegrityError,
  "corrupt-artifact": IntegrityError,
  "non-finite-output": IntegrityError,
  "dependency-missing": DependencyMissing,
};
