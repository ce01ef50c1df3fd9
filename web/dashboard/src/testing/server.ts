import { vi } from "vitest";

type Answers = Record<string, (body: unknown) => unknown>;

export type FakeServer = {
  /** Method and path of each request, in order. */
  asked: string[];
  bodies: unknown[];
  /** Status of all further answers; 200 for none. */
  fail: (status: number) => void;
  mend: () => void;
};

/** Answers fetch by path, without the query; the stream of events is refused. */
export function fakeServer(answers: Answers): FakeServer {
  let failing = 0;
  const server: FakeServer = {
    asked: [],
    bodies: [],
    fail: (status) => {
      failing = status;
    },
    mend: () => {
      failing = 0;
    },
  };
  vi.stubGlobal("fetch", (address: string, init: RequestInit) => {
    const path = address.replace("/api/v2/models", "");
    if (path === "/events") return Promise.resolve(json({ detail: "no stream" }, 404));
    server.asked.push(`${init.method ?? "GET"} ${path}`);
    const body: unknown = typeof init.body === "string" ? JSON.parse(init.body) : undefined;
    server.bodies.push(body);
    if (failing !== 0) return Promise.resolve(json({ detail: "It is broken." }, failing));
    const answer = answers[path.split("?")[0] ?? ""];
    return Promise.resolve(
      answer === undefined ? json({ detail: `no ${path}` }, 404) : json(answer(body), 200),
    );
  });
  return server;
}

function json(value: unknown, status: number): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { "Content-Type": "application/json" },
  });
}
