/** `GlassboxClient`: a running server's methods. */
import { messages } from "./events.js";
import {
  asMany,
  chatBody,
  completionBody,
  readChat,
  readCompletion,
  readOne,
  readStream,
  streamed,
  type Generated,
  type GenerateAsked,
  type Messages,
  type Prompt,
  type StreamedPiece,
} from "./generated.js";
import { Http, parsed, type CallOptions, type ClientOptions } from "./http.js";
import {
  auditEntries,
  studyRows,
  type AuditQuery,
  type PathwayQuery,
  type TokenQuery,
} from "./pages.js";
import { REQUEST_ID, requestIdOf } from "./problems.js";
import {
  filled,
  givesText,
  type Answer,
  type Method,
  type Path,
  type Rest,
  type Schemas,
} from "./routes.js";
import { readStates, SAFETENSORS_TYPE, type TextStates } from "./states.js";

/** Whether a server can be asked. */
export type Health = {
  /** It answers at all. */
  live: boolean;
  /** Its model is loaded and it takes requests. */
  ready: boolean;
};

/** Something changed in the service. */
export type Change = {
  /** `summary`, `inference`, `rollout`, `drift`, `alert` or `heartbeat`. */
  topic: string;
  data: unknown;
};

/** Where a prediction belongs. */
export type PredictOptions = CallOptions & {
  /** Its name; the server makes one otherwise. */
  requestId?: string | undefined;
  /** Seconds to wait for what the challenger would have answered; 0. */
  waitShadowS?: number | undefined;
};

/**
 * A running Glassbox server.
 *
 * Requests and answers have the names of the HTTP reference. Every method throws a `GlassboxError`
 * with the server's own code: `UsageError` for a wrong request, `AccessDenied` without a valid key,
 * `QueueFull` when the server stayed full through all repetitions, `DeadlineExceeded` when no answer
 * came in time, `Unreachable` when there is no server or it broke off, `IntegrityError` when what
 * answered is no Glassbox server. A call that its `signal` aborts throws the signal's reason.
 */
export class GlassboxClient {
  readonly #http: Http;

  constructor(options: ClientOptions = {}) {
    this.#http = new Http(options);
  }

  /** The text that continues a prompt, with what the model showed of itself. */
  async generate(
    prompt: Prompt,
    asked: GenerateAsked = {},
    options?: CallOptions,
  ): Promise<Generated> {
    const body = completionBody([prompt], asked);
    return this.#post("/v1/completions", body, options, readOne);
  }

  /** One text to each prompt, in order; they share the server's running batch. */
  async generateMany(
    prompts: readonly Prompt[],
    asked: GenerateAsked = {},
    options?: CallOptions,
  ): Promise<Generated[]> {
    const body = completionBody(prompts, asked);
    return this.#post("/v1/completions", body, options, (answer, id) =>
      readCompletion(answer, prompts.length, id),
    );
  }

  /** The text that continues a prompt as it comes; the last piece has all of it as `whole`. */
  stream(
    prompt: Prompt,
    asked: GenerateAsked = {},
    options?: CallOptions,
  ): AsyncGenerator<StreamedPiece, void, undefined> {
    return this.#stream("/v1/completions", completionBody([prompt], asked), options);
  }

  /** The answer to a conversation. */
  async chat(
    conversation: Messages,
    asked: GenerateAsked = {},
    options?: CallOptions,
  ): Promise<Generated> {
    const body = chatBody(conversation, asked);
    return this.#post("/v1/chat/completions", body, options, readChat);
  }

  /** The answer to a conversation as it comes; the last piece has all of it as `whole`. */
  streamChat(
    conversation: Messages,
    asked: GenerateAsked = {},
    options?: CallOptions,
  ): AsyncGenerator<StreamedPiece, void, undefined> {
    return this.#stream("/v1/chat/completions", chatBody(conversation, asked), options);
  }

  /** Hidden states of each text, as float32 arrays; without `capture`, of blocks -1, -4 and -8. */
  async states(
    texts: readonly Prompt[],
    asked: Omit<Schemas["StatesAsked"], "input" | "raw_as_json"> = {},
    options?: CallOptions,
  ): Promise<TextStates[]> {
    const sent = {
      method: "POST",
      path: "/v1/states",
      body: { ...asked, input: texts },
      headers: { accept: SAFETENSORS_TYPE },
    };
    const found = await this.#http.whole(sent, options, async (response) =>
      asMany("texts", readStates(new Uint8Array(await response.arrayBuffer())), texts.length),
    );
    return [...found];
  }

  /** Label and calibrated confidence of each text; a bad text has an `error`. */
  async classify(
    texts: readonly string[],
    asked: Omit<Schemas["ClassifyAsked"], "texts"> = {},
    options?: CallOptions,
  ): Promise<Schemas["ClassifyAnswered"]> {
    const body = { ...asked, texts: [...texts] };
    const answer = await this.call("post", "/v1/classify", { body }, options);
    asMany("labels", answer.data, texts.length);
    return answer;
  }

  /** Whether a response can be believed, and why; without `response` the model writes one first. */
  verify(asked: Schemas["VerifyAsked"], options?: CallOptions): Promise<Schemas["VerifyAnswered"]> {
    return this.call("post", "/v1/verify", { body: asked }, options);
  }

  /** What each layer would have said next, along some tokens of a text. */
  lens(asked: Schemas["LensAsked"], options?: CallOptions): Promise<Schemas["LensAnswered"]> {
    return this.call("post", "/v1/lens", { body: asked }, options);
  }

  /** Every name that a request may give as its model. */
  async models(options?: CallOptions): Promise<Schemas["ServedModel"][]> {
    const { data } = await this.call("get", "/v1/models", {}, options);
    return data;
  }

  /** The loaded adapters. */
  async adapters(options?: CallOptions): Promise<Schemas["AdapterAnswered"][]> {
    const { data } = await this.call("get", "/v1/adapters", {}, options);
    return data;
  }

  /** Load an adapter from a folder on the server, or an `s3://` address. */
  loadAdapter(
    name: string,
    path: string,
    options?: CallOptions,
  ): Promise<Schemas["AdapterAnswered"]> {
    return this.call("post", "/v1/adapters", { body: { name, path } }, options);
  }

  /** Take an adapter away once the requests that use it have ended. */
  async unloadAdapter(name: string, options?: CallOptions): Promise<void> {
    await this.call("delete", "/v1/adapters/{name}", { path: { name } }, options);
  }

  /** One prediction of a registered model; it is recorded. */
  async predict(
    asked: Schemas["PredictAsked"],
    { requestId, waitShadowS, ...options }: PredictOptions = {},
  ): Promise<Schemas["PredictAnswered"]> {
    const query = waitShadowS === undefined ? {} : { wait_shadow_s: waitShadowS };
    return this.#http.json(
      {
        method: "POST",
        path: filled("/api/v2/models/predict", {}, query),
        body: asked,
        ...(requestId === undefined ? {} : { headers: { [REQUEST_ID]: requestId } }),
      },
      options,
    );
  }

  /** Several predictions. */
  predictBatch(
    asked: Schemas["BatchAsked"],
    options?: CallOptions,
  ): Promise<Schemas["BatchAnswered"]> {
    return this.call("post", "/api/v2/models/predict/batch", { body: asked }, options);
  }

  /** Tell the truth about predictions, by the name of each. */
  tellLabels(
    labels: Readonly<Record<string, string | number | boolean>>,
    options?: CallOptions,
  ): Promise<Schemas["LabelsAnswered"]> {
    const told = Object.entries(labels).map(([name, label]) => ({ request_id: name, label }));
    return this.call("post", "/api/v2/models/labels", { body: { labels: told } }, options);
  }

  /** What changes in the service as it happens, until the server ends or the signal aborts. */
  changes(options?: CallOptions): AsyncGenerator<Change, void, undefined> {
    const sent = { method: "GET", path: "/api/v2/models/events", headers: EVENTS };
    return this.#http.pieces(sent, options, readChanges);
  }

  /** Every prediction that is kept, newest first, a page at a time. */
  iterAudit(
    query: AuditQuery = {},
    options?: CallOptions,
  ): AsyncGenerator<Schemas["AuditEntry"], void, undefined> {
    return auditEntries(query, (page) =>
      this.call("get", "/api/v2/models/audit/recent", { query: page }, options),
    );
  }

  /** Every pathway of a study, strongest first, a page at a time. */
  iterStudyPathways(
    study: string,
    query: PathwayQuery = {},
    options?: CallOptions,
  ): AsyncGenerator<Schemas["PathwayAnswered"], void, undefined> {
    return studyRows(query, async (page) => {
      const asked = { path: { study }, query: page };
      const answer = await this.call("get", "/v1/pathways/{study}/pathways", asked, options);
      return { rows: answer.pathways, nRows: answer.n_rows };
    });
  }

  /** Every token association of a study, the surest first, a page at a time. */
  iterStudyTokens(
    study: string,
    query: TokenQuery = {},
    options?: CallOptions,
  ): AsyncGenerator<Schemas["AssociationAnswered"], void, undefined> {
    return studyRows(query, async (page) => {
      const asked = { path: { study }, query: page };
      const answer = await this.call("get", "/v1/pathways/{study}/tokens", asked, options);
      return { rows: answer.tokens, nRows: answer.n_rows };
    });
  }

  /** Every server on the same database, and what they count together. */
  fleet(options?: CallOptions): Promise<Schemas["FleetAnswered"]> {
    return this.call("get", "/v1/fleet", {}, options);
  }

  /** Whether the server lives and is ready; never throws, unless its signal aborts. */
  async health(options?: CallOptions): Promise<Health> {
    const [live, ready] = await Promise.all(
      ["/livez", "/readyz"].map((path) => this.#http.is(path, options)),
    );
    return { live: live === true, ready: ready === true };
  }

  /**
   * Any route of the server, by its method and path: what it takes and gives, JSON or a text, is
   * checked against the server's own description when your program is compiled.
   *
   * ```ts
   * await client.call("get", "/api/v2/models/audit/recent", { query: { limit: 10 } });
   * ```
   */
  call<M extends Method, P extends Path<M>>(
    method: M,
    path: P,
    ...[asked, options]: Rest<M, P>
  ): Promise<Answer<M, P>> {
    const given = asked as Record<string, Record<string, unknown>> | undefined;
    const { path: names, query, body } = given ?? {};
    const sent = { method: method.toUpperCase(), path: filled(path, names, query), body };
    return this.#http.whole(sent, options, async (response) => {
      const text = await response.text();
      if (text === "") return undefined as Answer<M, P>;
      return (givesText(path) ? text : parsed(text)) as Answer<M, P>;
    });
  }

  #post<P extends Path<"post">, T>(
    path: P,
    body: unknown,
    options: CallOptions | undefined,
    read: (answer: Answer<"post", P>, requestId: string | undefined) => T,
  ): Promise<T> {
    return this.#http.whole({ method: "POST", path, body }, options, async (response) =>
      read(parsed(await response.text()) as Answer<"post", P>, requestIdOf(response.headers)),
    );
  }

  #stream(path: string, body: Record<string, unknown>, options: CallOptions | undefined) {
    const sent = { method: "POST", path, body: streamed(body), headers: EVENTS };
    return this.#http.pieces(sent, options, (parts, headers) =>
      readStream(parts, requestIdOf(headers)),
    );
  }
}

const EVENTS = { accept: "text/event-stream" };

async function* readChanges(
  parts: AsyncIterable<Uint8Array>,
): AsyncGenerator<Change, void, undefined> {
  for await (const { event, data } of messages(parts)) yield { topic: event, data: parsed(data) };
}
