/** Client of a Glassbox server, and the errors it throws. Endpoints of SageMaker: `./sagemaker`. */
export { GlassboxClient } from "./client.js";
export type { Change, Health, PredictOptions } from "./client.js";
export {
  AccessDenied,
  CapacityError,
  ConflictError,
  DeadlineExceeded,
  DependencyMissing,
  GlassboxError,
  IntegrityError,
  QueueFull,
  UnknownName,
  Unreachable,
  UsageError,
  VersionMismatch,
} from "./errors.js";
export type { ErrorDetails, FieldProblem, Problem } from "./errors.js";
export type { Generated, GenerateAsked, Messages, Prompt, StreamedPiece } from "./generated.js";
export { DEFAULT_URL } from "./http.js";
export type { CallOptions, ClientOptions, Fetch } from "./http.js";
export type { AuditQuery, PathwayQuery, TokenQuery } from "./pages.js";
export type { Retries } from "./patience.js";
export type { Answer, Asked, Method, Path, Schemas } from "./routes.js";
export type { PlaceStates, TextStates } from "./states.js";
export { estimateUncertainty } from "./uncertainty.js";
export type { Sounded } from "./uncertainty.js";
export { VERSION } from "./version.js";
