import { modelsPath } from "../api/http";

/** What of the audit is shown; lives in the page's address, so that it can be sent to somebody. */
export type Filters = {
  model: string;
  model_version: string;
  status: "" | "success" | "error";
  label: string;
  min_diff: string;
  request_id: string;
};

export const PAGE_SIZE = 100;

export function filtersOf(query: URLSearchParams): Filters {
  const status = query.get("status");
  return {
    model: query.get("model") ?? "",
    model_version: query.get("model_version") ?? "",
    status: status === "success" || status === "error" ? status : "",
    label: query.get("label") ?? "",
    min_diff: query.get("min_diff") ?? "",
    request_id: query.get("request_id") ?? "",
  };
}

/** Whether the smallest difference is a number that can be asked for. */
export function isUsable(minDiff: string): boolean {
  return minDiff === "" || (Number.isFinite(Number(minDiff)) && Number(minDiff) >= 0);
}

/** The address of one page of entries; `before` is the sequence that the page before ended at. */
export function recentPath(filters: Filters, before?: number): string {
  const { min_diff, ...rest } = filters;
  return modelsPath("/audit/recent", {
    limit: PAGE_SIZE,
    ...rest,
    min_diff: isUsable(min_diff) ? min_diff.trim() : "",
    before,
  });
}
