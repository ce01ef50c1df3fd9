"""How fast labels are scored, against the two usual ways of doing it.

Three ways over the same model, texts and tokens, taken in turn so that a noisy machine disturbs
them alike; the figure of each is the median over the rounds.

``generate``  one call of the library's ``generate`` for each text, reading its ``scores``.
``harness``   lm-evaluation-harness's ``HFLM``, batches of 32.
``glassbox``  ``Engine.logprobs``, the prefix computed anew in each round.

Beside them the rate of one large matrix product in the same number format, timed in each round:
the share says how much of the machine the scoring gets out of it.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.scoring [--dtype bfloat16] [--json FILE]``
"""

import argparse
import contextlib
import io
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import GenerationConfig, LlamaForCausalLM

from benchmarks.apparatus.machine import as_json, describe_machine, matmul_flops, timed
from benchmarks.apparatus.model import N_TEXTS, Workload, model_folder, n_block_parameters, workload
from glassbox.engine.model.load import quiet_library
from glassbox.engine.resident import ResidentEngine, load_engine
from glassbox.types import ModelSpec

HARNESS_BATCH = 32
WAYS = ("generate", "harness", "glassbox")


@dataclass(frozen=True)
class Contest:
    """The three ways over one workload."""

    engine: ResidentEngine
    model: LlamaForCausalLM
    """A second copy, as the library loads it: the engine's own is nobody else's."""
    work: Workload

    def generate(self) -> np.ndarray:
        """Return log-probabilities from one ``generate`` call for each text."""
        labels = [label[0] for label in self.work.continuations]
        settings = GenerationConfig(
            max_new_tokens=1, do_sample=False, output_scores=True, return_dict_in_generate=True,
            pad_token_id=1, eos_token_id=None,
        )  # fmt: skip
        rows = []
        for prompt in self.work.prompts:
            tokens = torch.tensor([prompt], device=self.model.device)
            answer: Any = self.model.generate(  # type: ignore[misc]  # transformers' own self
                tokens, attention_mask=torch.ones_like(tokens), generation_config=settings
            )
            rows.append(answer.scores[0][0].float().log_softmax(-1)[labels])
        return torch.stack(rows).cpu().numpy()

    def harness(self) -> np.ndarray:
        """Return log-probabilities from lm-evaluation-harness."""
        from lm_eval.models.huggingface import HFLM

        with contextlib.redirect_stderr(io.StringIO()):
            scorer = HFLM(
                self.model, tokenizer=self.engine.codec.tokenizer, batch_size=HARNESS_BATCH
            )
            requests = [
                ((f"{row}", f"{label}"), list(prompt), list(label))
                for row, prompt in enumerate(self.work.prompts)
                for label in self.work.continuations
            ]
            answers = scorer._loglikelihood_tokens(requests, disable_tqdm=True)
        n_labels = len(self.work.continuations)
        return np.array([logprob for logprob, _ in answers]).reshape(-1, n_labels)

    def glassbox(self) -> np.ndarray:
        """Return log-probabilities from our engine, with an empty prefix cache."""
        self.engine.prefixes.clear()
        return self.engine.logprobs(self.work.prompts, self.work.continuations).values

    def way(self, name: str) -> Callable[[], np.ndarray]:
        """Return one of the three by name."""
        chosen: Callable[[], np.ndarray] = getattr(self, name)
        return chosen


def measure(contest: Contest, rounds: int, ways: tuple[str, ...]) -> dict[str, Any]:
    """Return every figure of the report as JSON values."""
    device, dtype = contest.model.device, contest.model.dtype
    answers = {name: contest.way(name)() for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    matmuls = []
    for _ in range(rounds):
        matmuls.append(matmul_flops(dtype, device))
        for name in ways:
            seconds[name].append(timed(contest.way(name), device))
    median = {name: statistics.median(seconds[name]) for name in ways}
    work, texts = contest.work, len(contest.work.prompts)
    n_computed = work.n_sentence_tokens + work.n_instruction
    # Every token goes through all layers but the last, which works only where something is read.
    layers = contest.engine.info.n_layers
    passes = n_computed * (layers - 1) + texts
    flops = 2 * n_block_parameters(contest.model) // layers * passes
    return {
        "n_texts": texts,
        "n_tokens": sum(map(len, work.prompts)),
        "n_tokens_computed": n_computed,
        "rounds": rounds,
        "dtype": str(dtype).removeprefix("torch."),
        "batch_tokens": contest.engine.batch_tokens,
        "scoring_path": contest.engine.info.scoring_path,
        "seconds": seconds,
        "texts_per_s": {name: texts / median[name] for name in ways},
        "ratio": {name: median[name] / median["glassbox"] for name in ways},
        "largest_difference": {
            name: float(np.abs(answers[name] - answers["glassbox"]).max()) for name in ways
        },
        "matmul_flops": statistics.median(matmuls),
        "matmul_share": flops / median["glassbox"] / statistics.median(matmuls),
        "bound_by_tokens": sum(map(len, work.prompts)) / n_computed,
    }


def show(result: dict[str, Any]) -> None:
    """Print the report."""
    machine = result["machine"]
    print(f"{machine['description']}, {machine['device']}, {machine['threads']} threads")
    print(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    print(
        f"{result['n_texts']} texts, {result['n_tokens']} tokens, {result['dtype']}, "
        f"{result['rounds']} rounds, path {result['scoring_path']}"
    )
    print(f"{'way':<10}{'texts/s':>10}{'glassbox is':>14}{'largest difference':>22}")
    for name, rate in result["texts_per_s"].items():
        ratio, gap = result["ratio"][name], result["largest_difference"][name]
        print(f"{name:<10}{rate:>10.1f}{ratio:>13.2f}x{gap:>17.1e} nats")
    print(
        f"matrix product of 4096: {result['matmul_flops'] / 1e9:.0f} GFLOP/s; "
        f"scoring reaches {result['matmul_share']:.2f} of it"
    )
    print(
        f"{result['bound_by_tokens']:.2f} times fewer tokens computed than without a shared prefix"
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--texts", type=int, default=N_TEXTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    dtype: Literal["auto", "float32", "bfloat16"] = options.dtype
    folder = model_folder()
    spec = ModelSpec(str(folder), dtype=dtype, device=options.device)
    engine = load_engine(spec, threads=options.threads, batch_tokens=options.batch_tokens)
    with quiet_library():
        model = LlamaForCausalLM.from_pretrained(folder, dtype=getattr(torch, engine.info.dtype))
        model.to(engine.info.device).eval()  # type: ignore[arg-type]  # transformers narrows torch's
        contest = Contest(engine, model, workload(engine.codec.tokenizer, options.texts))
        ways = tuple(dict.fromkeys([*options.ways, "glassbox"]))
        with torch.inference_mode():
            result = measure(contest, options.rounds, ways)
    result["machine"] = as_json(describe_machine(model.device))
    show(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
