"""Asking the model about responses: every number that the checks need, and what it cost.

One code path for one response and for ten thousand: training sees what verifying sees. A response
is read in one teacher-forced pass; samples of the model's own answers are drawn once for a prompt
and compared with all its responses; wordings and swaps are read by the engine's shared-prefix
scorer. Knows nothing of fusions and files.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float

from glassbox.engine.requests import Generation, Request, Sampling
from glassbox.engine.text_codec import TextCodec
from glassbox.errors import InvalidValue, TextTooLong
from glassbox.introspection.evidence.checks import LOGPROB_FLOOR, PROBE_PREFIX
from glassbox.introspection.evidence.equivalence import EQUIVALENCES, clusters
from glassbox.introspection.evidence.paraphrase import paraphrases_by_rule
from glassbox.introspection.evidence.witness import Witness, n_run, own_answer
from glassbox.introspection.verdict import Sample
from glassbox.progress import Progress
from glassbox.types import TokenIds

_CLOSES: Final = re.compile(r"[,.;:!?%)\]}\u2026](?!\w)")
"""The beginning of a response that goes on with a sentence: ``, there was``, not ``.5``."""

_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff60]$"
)
"""The end of a prompt in a script without spaces between words: Thai, Lao, Burmese, Khmer,
Japanese, Chinese."""


@dataclass(frozen=True)
class Cost:
    """What a way of checking cost."""

    n_tokens: int
    """Tokens the model ran; those of a hidden system prompt are not counted."""
    seconds: float
    """Time, seconds; a share where several responses were checked together."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that was read of one response."""

    values: Mapping[str, float]
    """Value of each check that could be read."""
    costs: Mapping[str, Cost]
    """Cost by way: ``reading``, ``asking``, ``rewording``, ``swapping``."""
    generation: Generation
    """The teacher-forced reading."""
    samples: tuple[Sample, ...] = ()
    """The model's own answers."""
    paraphrases: tuple[str, ...] = ()
    """Other wordings used."""
    n_truncated: int = 0
    """Samples that reached the most tokens."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Why a way gave nothing."""


def as_it_stands(codec: TextCodec, prompt: str, response: str) -> str:
    """Return somebody's response as it stands behind its prompt, with the white space before it.

    What begins with white space stays. A chat template has its own; behind a plain prompt that
    ends without any, a space goes before what is not punctuation that closes, and not where a
    script knows none.
    """
    if response[:1].isspace():
        return response
    if codec.has_chat_template:
        return codec.before_answer + response
    joins = prompt[-1:].isspace() or _CLOSES.match(response) or _UNSPACED.search(prompt)
    return response if joins else " " + response


def gather(
    witness: Witness,
    pairs: Sequence[tuple[str, str]],
    *,
    paraphrases: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> list[Evidence]:
    """Return the evidence on each (prompt, response), in order.

    Args:
        witness: The model and how it is asked.
        pairs: Prompts with responses as they stand behind them (``as_it_stands``), neither empty;
            responses of one prompt share its samples.
        paraphrases: Other wordings, the same for every prompt (so meant for one); None makes them
            by rule.
        progress: Called as prompts are finished.

    Raises:
        InvalidValue: An empty prompt or response.
        TextTooLong: Prompt and response, or a paraphrase and response, exceed the context.
        GlassboxError: As the engine.
    """
    for prompt, response in pairs:
        if not prompt.strip() or not response.strip():
            empty = "prompt" if not prompt.strip() else "response"
            raise InvalidValue(empty, "", f"a {empty} that is not empty")
    distinct = list(dict.fromkeys(pairs))
    places: dict[str, list[int]] = {}
    for number, (prompt, _) in enumerate(distinct):
        places.setdefault(prompt, []).append(number)
    texts = [response for _, response in distinct]
    ids = witness.engine.codec.encode_continuations(texts, literal=True)
    readings = _read(witness, [prompt for prompt, _ in distinct], ids)
    asked = {
        prompt: _wordings(witness, prompt, max(len(ids[each]) for each in numbers), paraphrases)
        for prompt, numbers in places.items()
    }
    answers = _ask(witness, asked)
    found: dict[tuple[str, str], Evidence] = {}
    for done, (prompt, numbers) in enumerate(places.items(), start=1):
        wordings = asked[prompt]
        compared = _compare(witness, prompt, [ids[number] for number in numbers], wordings)
        for number, more in zip(numbers, compared, strict=True):
            found[distinct[number]] = _evidence(
                witness, distinct[number], readings[number], answers[prompt], more, wordings
            )
        if progress is not None:
            progress(done, len(places))
    return [found[pair] for pair in pairs]


@dataclass(frozen=True)
class _Answers:
    texts: tuple[tuple[str, str], ...]
    n_truncated: int
    cost: Cost


@dataclass(frozen=True)
class _Compared:
    values: dict[str, float]
    costs: dict[str, Cost]


def _wordings(
    witness: Witness, prompt: str, longest: int, given: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the other wordings of a prompt after which its longest response can be read.

    Raises:
        TextTooLong: One that was given leaves no room; those made by rule are left out then.
    """
    room = witness.engine.info.context - longest
    by_rule = paraphrases_by_rule(prompt, witness.plan.rewrites) if given is None else ()
    kept: list[str] = []
    for number, wording in enumerate(by_rule if given is None else given, start=1):
        asked = witness.encode(wording)
        if len(asked.ids) <= room:
            kept.append(wording)
        elif given is not None:
            raise TextTooLong(
                len(asked.ids) - asked.n_hidden,
                max(0, room - asked.n_hidden),
                which=f"paraphrase {number}",
                remedy=f"The response after it takes {longest}. Shorten the paraphrase.",
            )
    return tuple(each for each in dict.fromkeys(kept) if each != prompt)


def _read(
    witness: Witness, prompts: Sequence[str], responses: Sequence[TokenIds]
) -> list[Generation]:
    asked = {prompt: witness.encode(prompt) for prompt in prompts}
    return witness.answers(
        [
            Request(
                prompt=asked[prompt].ids,
                response=response,
                sampling=Sampling(max_tokens=1, temperature=0, top_logprobs=1),
                n_hidden=asked[prompt].n_hidden,
                readouts=tuple(probe.readout() for probe in witness.probes),
                adapter=witness.adapter,
                client=witness.client,
            )
            for prompt, response in zip(prompts, responses, strict=True)
        ]
    )


def _ask(witness: Witness, wordings: Mapping[str, tuple[str, ...]]) -> dict[str, _Answers]:
    """Ask every prompt k times, spread evenly over its wordings, all in one running batch."""
    k = witness.plan.k
    ways = [
        (prompt, *others)[number % (1 + len(others))]
        for prompt, others in wordings.items()
        for number in range(k)
    ]
    started = time.perf_counter()
    requests = [own_answer(witness, way, at % k) for at, way in enumerate(ways)]
    answers = witness.answers(requests)
    sizes = [n_run(*both) for both in zip(answers, requests, strict=True)]
    seconds = (time.perf_counter() - started) / max(1, len(wordings))
    found: dict[str, _Answers] = {}
    for number, prompt in enumerate(wordings):
        own = answers[number * k : (number + 1) * k]
        found[prompt] = _Answers(
            tuple(
                (way, each.text.strip())
                for way, each in zip(ways[number * k : (number + 1) * k], own, strict=True)
            ),
            sum(each.is_cut for each in own),
            Cost(sum(sizes[number * k : (number + 1) * k]), seconds),
        )
    return found


def _compare(
    witness: Witness, prompt: str, responses: Sequence[TokenIds], wordings: Sequence[str]
) -> list[_Compared]:
    """Read the responses of one prompt after its other wordings and after swaps."""
    swaps = witness.plan.swaps
    asked = witness.encode(prompt)
    reworded = [witness.encode(each).ids for each in wordings]
    variants = [] if swaps is None else swaps.variants(asked.ids, first=max(1, asked.n_hidden))
    prompts = [*reworded, *(each for place in variants for each in place)]
    compared = [_Compared({}, {}) for _ in responses]
    if not prompts:
        return compared
    distinct = list(dict.fromkeys(responses))
    witness.look_up()
    started = time.perf_counter()
    read = witness.engine.logprobs(prompts, distinct, adapter=witness.adapter).values
    seconds = (time.perf_counter() - started) / len(responses)
    sizes = np.array([len(each) - asked.n_hidden for each in prompts])
    for answer, ids in zip(compared, responses, strict=True):
        mean = np.maximum(read[:, distinct.index(ids)] / len(ids), LOGPROB_FLOOR)
        n, total = len(reworded), float(sizes.sum() + len(ids) * len(prompts))
        for way, part in (("rewording", slice(0, n)), ("swapping", slice(n, None))):
            if len(sizes[part]):
                n_tokens = int(sizes[part].sum() + len(ids) * len(sizes[part]))
                answer.costs[way] = Cost(n_tokens, seconds * n_tokens / total)
        if n:
            answer.values["paraphrase-logprob"] = float(mean[:n].mean())
        if variants:
            kept = _kept(mean[n:], [len(place) for place in variants])
            answer.values["swap-mean"] = math.log(float(kept.mean()))
            answer.values["swap-least"] = math.log(float(kept.min()))
            answer.values["swap-most"] = math.log(float(kept.max()))
    return compared


def _kept(mean: Float[np.ndarray, " n"], sizes: Sequence[int]) -> Float[np.ndarray, " places"]:
    """Return the response's mean probability over the swaps of each place."""
    ends = np.cumsum(sizes)
    return np.array(
        [np.exp(mean[end - size : end]).mean() for end, size in zip(ends, sizes, strict=True)]
    )


def _evidence(
    witness: Witness,
    pair: tuple[str, str],
    reading: Generation,
    answers: _Answers,
    compared: _Compared,
    wordings: tuple[str, ...],
) -> Evidence:
    plan, (prompt, response) = witness.plan, pair
    tokens = reading.tokens
    values = {
        "mean-logprob": float(tokens.logprobs.mean()),
        "min-logprob": float(tokens.logprobs.min()),
        "mean-prob": float(np.exp(tokens.logprobs.astype(np.float64)).mean().clip(0, 1)),
        "margin": float((tokens.logprobs - tokens.top_logprobs[:, 0]).mean()),
        "mean-entropy": float(tokens.entropies.mean()),
        **compared.values,
    }
    missing = {}
    for probe in witness.probes:
        value = probe.read(reading).probe_logit
        if value is None:
            missing[PROBE_PREFIX + probe.name] = "its positions hold no token"
        else:
            values[PROBE_PREFIX + probe.name] = value
    n_read = reading.n_prompt - witness.encode(prompt).n_hidden + len(tokens.token_ids)
    costs = {"reading": Cost(n_read, reading.total_s)}
    samples: tuple[Sample, ...] = ()
    if answers.texts:
        same = witness.same or EQUIVALENCES[plan.equivalence]
        samples = tuple(
            Sample(way, text, same(prompt, response.strip(), text)) for way, text in answers.texts
        )
        sizes = np.array(clusters(prompt, [text for _, text in answers.texts], same))
        shares = sizes / sizes.sum()
        values["agreement"] = float(np.mean([each.agrees for each in samples]))
        values["answer-entropy"] = max(0.0, float(-(shares * np.log(shares)).sum()))
        costs["asking"] = answers.cost
    else:
        missing["asking"] = "the model was not asked again (k is 0)"
    if not wordings:
        missing["rewording"] = "no other wording was given, or could be made by rule and fits"
    if "swap-mean" not in values:
        missing["swapping"] = (
            "only a trained verifier knows which tokens to swap"
            if plan.swaps is None
            else "the prompt holds no token that may be swapped"
        )
    return Evidence(
        values, costs | compared.costs, reading, samples, wordings, answers.n_truncated, missing
    )
