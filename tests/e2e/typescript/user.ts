/** A user's program: every kind of call, to a server and to an endpoint; what came is printed. */
import {
  estimateUncertainty,
  GlassboxClient,
  GlassboxError,
  type Generated,
  type TextStates,
} from "glassbox-llm";
import { sageMakerFetch, ShadowSelfClient, type HiddenStateResult } from "glassbox-llm/sagemaker";

type World = { server: string; key: string; platform: string; prompt: string };

const { server, key, platform, prompt } = JSON.parse(process.argv[2] ?? "{}") as World;
const warnings: string[] = [];
const onWarning = (message: string) => warnings.push(message);
const endpoint = {
  endpointName: "our-endpoint",
  region: "eu-west-1",
  aws: { endpoint: platform, credentials: { accessKeyId: "test", secretAccessKey: "test" } },
};

const SIX = { max_tokens: 6, temperature: 0, stop_at_end: false };

async function calls(client: GlassboxClient) {
  const one: Generated = await client.generate(prompt, {
    ...SIX,
    top_logprobs: 2,
    probes: true,
  });
  const two = await client.generateMany([prompt, "The film was"], {
    max_tokens: 3,
    temperature: 0,
  });
  const pieces = [];
  let whole: Generated | undefined;
  for await (const piece of client.stream(prompt, SIX)) {
    pieces.push(piece.text);
    whole = piece.whole ?? whole;
  }
  const messages = [{ role: "user" as const, content: prompt }];
  const said = await client.chat(messages, { max_tokens: 4, temperature: 0, top_logprobs: 1 });
  let streamed = "";
  for await (const { text } of client.streamChat(messages, { max_tokens: 4, temperature: 0 })) {
    streamed += text;
  }
  const adapted = await client.generate(prompt, {
    model: "support",
    max_tokens: 2,
    temperature: 0,
  });
  const states: TextStates[] = await client.states([prompt, "a"], {
    capture: { layers: [-1, 0], pooling: ["mean", "last", "norm", "none"] },
  });
  const lens = await client.lens({ prompt, top_k: 2, n_tokens: 2 });
  return {
    one,
    two,
    pieces,
    whole,
    said,
    streamed,
    adapted,
    states: states.map(({ states: places }) =>
      places.map(({ mean, last, none, ...rest }) => ({
        ...rest,
        mean: [...(mean ?? [])],
        last: [...(last ?? [])],
        none: none?.map((each) => [...each]),
      })),
    ),
    lens,
    labels: await client.classify(["A lovely, wonderful film.", "x".repeat(100_000)]),
    verdict: await client.verify({ prompt, response: " Vienna", k: 2 }),
    models: (await client.models()).map(({ id }) => id),
    health: await client.health(),
    errors: await failures([
      () => client.generate(prompt, { model: "nobody" }),
      () => client.generate(prompt, { max_tokens: -1 }),
      () => client.states(["a"], { capture: { layers: [99] } }),
      () => client.generate("a ".repeat(5000), { max_tokens: 1 }),
    ]),
  };
}

/** Every position's vectors of long texts: about 26 MB. */
async function large(client: GlassboxClient) {
  const capture = { layers: "all" as const, pooling: ["none" as const] };
  const ids = Array.from({ length: 13 }, (_, n) =>
    Array.from({ length: 500 }, (_, at) => 5 + ((n + at) % 200)),
  );
  const states = await client.states(ids, { capture });
  let n = 0;
  for (const { states: places } of states) {
    for (const { none } of places) for (const each of none ?? []) n += each.byteLength;
  }
  return n;
}

async function failures(attempts: (() => Promise<unknown>)[]) {
  const found = [];
  for (const attempt of attempts) {
    try {
      await attempt();
      found.push(null);
    } catch (error) {
      if (!(error instanceof GlassboxError)) throw error;
      const { name, code, message, status } = error;
      found.push({ name, code, message, status });
    }
  }
  return found;
}

async function shadowSelf() {
  const shadow = new ShadowSelfClient({ ...endpoint, maxNewTokens: 5, temperature: 0, onWarning });
  const plain: HiddenStateResult = await shadow.invokeWithHiddenStates(prompt);
  const halved = await shadow.invokeWithHiddenStates(prompt, { encoding: "float16" });
  const adapted = await shadow.invokeWithHiddenStates(prompt, {
    adapter: "support",
    targetLayers: [-2],
  });
  let text = "";
  let whole: HiddenStateResult | undefined;
  for await (const piece of shadow.streamWithHiddenStates(prompt)) {
    text += piece.text;
    whole = piece.whole ?? whole;
  }
  const gone = new ShadowSelfClient({ ...endpoint, endpointName: "deleted" });
  return {
    plain,
    halved,
    adapted,
    text,
    whole,
    uncertainty: [shadow.estimateUncertainty(plain), estimateUncertainty(plain)],
    errors: await failures([
      () => shadow.invokeWithHiddenStates(prompt, { targetLayers: [-99] }),
      () => shadow.invokeWithHiddenStates(prompt, { adapter: "nobody" }),
      () => gone.invokeWithHiddenStates(prompt),
      () => shadow.getEndpointStatus(),
    ]),
  };
}

async function predictions(client: GlassboxClient) {
  const requestId = "typescript-1";
  const features = { text: "A lovely, wonderful film." };
  const one = await client.predict({ features }, { requestId });
  const told = await client.tellLabels({ [requestId]: "positive", "never-made": "negative" });
  const recent = await client.call("get", "/api/v2/models/audit/recent", { query: { limit: 1 } });
  const fleet = await client.fleet();
  for await (const change of client.changes()) {
    return { one, told, recent, fleet, change };
  }
  return { one, told, recent, fleet };
}

const client = new GlassboxClient({ url: server, key, onWarning });
const overSageMaker = new GlassboxClient({ fetch: sageMakerFetch(endpoint), onWarning });
const results = {
  server: await calls(client),
  endpoint: await calls(overSageMaker),
  shadow: await shadowSelf(),
  predictions: await predictions(client),
  nBytes: await large(client),
  tooLarge: await failures([() => large(overSageMaker)]),
  refused: await failures([
    () => overSageMaker.adapters(),
    () => new GlassboxClient({ url: server, key: "gb_wrong" }).models(),
    () => new GlassboxClient({ url: server, key, retries: { n: 0 }, timeoutS: 1e-3 }).models(),
  ]),
  warnings,
};
console.log(JSON.stringify(results));
