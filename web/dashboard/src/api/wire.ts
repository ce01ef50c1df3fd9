/** Short names for what the routes below `/api/v2/models` take and give. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Summary = Schemas["SummaryAnswered"];
export type AuditEntry = Schemas["AuditEntry"];
export type AuditRecord = Schemas["RecordAnswered"];
export type ShadowAnswered = Schemas["ShadowAnswered"];
export type Registry = Schemas["RegistryAnswered"];
export type Health = Schemas["InferenceHealth"];
export type Component = Schemas["Component"];
export type Version = Schemas["VersionAnswered"];
export type Versions = Schemas["VersionsAnswered"];
export type AliasMove = Schemas["AliasMoveAnswered"];
export type AliasAsked = Schemas["AliasAsked"];
export type Calibration = Schemas["CalibrationAnswered"];
export type Rollout = Schemas["RolloutStatus"];
export type RolloutBrief = Schemas["RolloutBrief"];
export type Rollouts = Schemas["RolloutsAnswered"];
export type RolloutAsked = Schemas["RolloutAsked"];
export type Gate = Schemas["GateAnswered"];
export type Transition = Schemas["TransitionAnswered"];
export type EvidencePoint = Schemas["EvidencePoint"];
export type Drift = Schemas["DriftAnswered"];
export type DriftReport = Schemas["DriftReportAnswered"];
export type FeatureDrift = Schemas["FeatureDriftAnswered"];
export type DriftPoint = Schemas["DriftPoint"];
export type DriftEstimate = Schemas["EstimateAnswered"];
export type References = Schemas["ReferencesAnswered"];
export type Reference = Schemas["ReferenceAnswered"];
export type Alerts = Schemas["AlertsAnswered"];
