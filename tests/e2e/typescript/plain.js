/** A program without types, and without any package of AWS: what works, and what it is told. */
import { DeadlineExceeded, estimateUncertainty, GlassboxClient } from "glassbox-llm";

const said = await import("glassbox-llm/sagemaker").catch((error) => String(error));
const client = new GlassboxClient({ url: process.argv[2], key: process.argv[3] });
const slow = new GlassboxClient({
  timeoutS: 0.05,
  fetch: (_, { signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
});
const late = await slow.models().catch((error) => error instanceof DeadlineExceeded);
const { text } = await client.generate("The film was", { max_tokens: 3, temperature: 0 });
const uncertainty = estimateUncertainty({ logitsEntropy: 1, generationProbs: [0.5, 0.7] });
console.log(JSON.stringify({ text, late, uncertainty, said }));
