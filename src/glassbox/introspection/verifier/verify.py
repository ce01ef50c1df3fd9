"""Is this response right? One call from a prompt and a response to a verdict.

The model reads the response, is asked again, and the checks are fused into one calibrated
uncertainty. Without a trained verifier the named baseline ``heuristic`` answers, and says that
nobody validated it. Knows nothing of HTTP or the command line.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from glassbox.engine.protocol import Engine
from glassbox.engine.requests import Generation
from glassbox.errors import InvalidValue
from glassbox.introspection.evidence.checks import CHECKS, check_info
from glassbox.introspection.evidence.equivalence import Equivalence
from glassbox.introspection.evidence.gathering import Evidence, as_it_stands, gather
from glassbox.introspection.evidence.readable import ReadableProbe
from glassbox.introspection.evidence.witness import (
    Encode,
    Plan,
    Witness,
    n_run,
    own_answer,
    plain_encode,
)
from glassbox.introspection.verdict import Check, Decision, Method, Origin, Verdict
from glassbox.introspection.verifier.file import VerifierManifest
from glassbox.introspection.verifier.fusion import Fusion, Judgement, choose
from glassbox.introspection.verifier.spans import read_tokens, surprising_spans
from glassbox.stats.uncertainty.heuristic import ENTROPY_SCALE, estimate_uncertainty
from glassbox.wording import counted

UNVALIDATED = (
    "No trained verifier for this model: the uncertainty is an index of entropy and probability "
    "that nobody validated, and no threshold belongs to it. Train one with 'glassbox verify train'."
)
"""Said with every verdict of the heuristic."""

ONLY_READ = "one pass only (k is 0)"
"""Why nothing but the reading is done where a call does not want the model asked again."""

WRITTEN = -1
"""Number of the answer that is judged where no response was given."""


class Verifier:
    """Judges responses with one resident model.

    Args:
        engine: The model.
        manifest: A trained verifier; None answers by the heuristic.
        probes: Probes that read along; a trained verifier needs those it names.
        encode: How prompts become tokens; None takes the chat template where there is one.
        same: When two answers mean the same, in place of the plan's rule.
        adapter: Adapter that judges; only without a trained verifier.

    Raises:
        AdapterMismatch: The verifier was trained on another model.
    """

    def __init__(
        self,
        engine: Engine,
        manifest: VerifierManifest | None = None,
        *,
        probes: Sequence[ReadableProbe] = (),
        encode: Encode | None = None,
        same: Equivalence | None = None,
        adapter: str | None = None,
    ) -> None:
        if manifest is not None:
            manifest.check(engine.info)
            if adapter is not None:
                raise InvalidValue(
                    "adapter", adapter, "none: this verifier was trained on the base model"
                )
        self._manifest = manifest
        self._witness = Witness(
            engine=engine,
            encode=encode or plain_encode(engine.codec),
            plan=Plan() if manifest is None else manifest.plan,
            probes=tuple(probes),
            same=same,
            adapter=adapter,
        )

    def verify(
        self,
        prompt: str,
        response: str | None = None,
        *,
        k: int | None = None,
        paraphrases: Sequence[str] | None = None,
        client: str = "",
        deadline_s: float | None = None,
        between: Callable[[], None] | None = None,
    ) -> Verdict:
        """Return the verdict on a response, somebody else's or the model's own.

        Args:
            prompt: What was asked.
            response: What was answered; None lets the model write an answer and judges that.
            k: Times the model is asked again; None is the verifier's own number. 0 only reads the
                response, in one pass: nothing else is weighed without asking.
            paraphrases: Other wordings of the prompt; None makes them by rule.
            client: For whom: clients take turns at the engine.
            deadline_s: Seconds that all of it may take; None sets no limit.
            between: Called between steps of a few requests each; raises to give up.

        Raises:
            InvalidValue: An empty prompt or response, or a k out of range.
            TextTooLong: Prompt and response exceed the context.
            DeadlineExceeded: Time ran out; a verdict on half the evidence is none.
            GlassboxError: As the engine.
        """
        started = time.perf_counter()
        until_s = None if deadline_s is None else time.monotonic() + deadline_s
        witness = replace(self._witness, client=client, until_s=until_s, between=between)
        only_read = k == 0 < witness.plan.k
        if k is not None:
            swaps = None if only_read else witness.plan.swaps
            witness = replace(witness, plan=replace(witness.plan, k=k, swaps=swaps))
        if not prompt.strip():
            raise InvalidValue("prompt", prompt, "a prompt that is not empty")
        prompt = witness.plan.framed(prompt)
        if paraphrases is not None or only_read:
            paraphrases = [witness.plan.framed(each) for each in paraphrases or ()]
        origin: Origin = "given"
        n_written, is_cut = 0, False
        if response is None:
            origin = "written"
            asked_for = own_answer(witness, prompt, WRITTEN)
            (written,) = witness.answers([asked_for])
            standing, n_written = _written(written), n_run(written, asked_for)
            response, is_cut = standing.strip(), written.is_cut
        else:
            standing = as_it_stands(witness.engine.codec, prompt, response)
        evidence = gather(witness, [(prompt, standing)], paraphrases=paraphrases)[0]
        if only_read:
            why = dict.fromkeys(("asking", "rewording", "swapping"), ONLY_READ)
            evidence = replace(evidence, missing={**evidence.missing, **why})
        manifest = self._manifest
        fusion = None if manifest is None else choose(manifest.fusions, origin, evidence.values)
        judgement = _by_heuristic(evidence) if fusion is None else fusion.judge(evidence.values)
        asked = witness.encode(prompt)
        tokens = read_tokens(witness.engine.codec, asked.ids, response, evidence.generation.tokens)
        checks = _checks(evidence, judgement)
        method, decision = _decide(fusion, judgement)
        info = witness.engine.info
        return Verdict(
            prompt=prompt,
            response=response,
            origin=origin,
            uncertainty=judgement.uncertainty,
            decision=decision,
            threshold=None if fusion is None else fusion.max_uncertainty,
            promise="" if fusion is None else fusion.promise,
            method=method,
            validated=fusion is not None,
            checks=checks,
            tokens=tokens,
            spans=surprising_spans(response, tokens),
            samples=evidence.samples,
            paraphrases=evidence.paraphrases,
            notes=_notes(evidence, fusion, manifest, origin, witness.plan, is_cut=is_cut),
            model=info.name,
            model_digest=info.digest,
            adapter_digest=evidence.generation.adapter_digest,
            verifier_digest=None if manifest is None or fusion is None else manifest.digest,
            n_tokens=n_written + sum(cost.n_tokens for cost in evidence.costs.values()),
            seconds=time.perf_counter() - started,
        )


def _written(generation: Generation) -> str:
    """Return what the model wrote, as it stands behind the prompt."""
    text = generation.text.rstrip()
    if not text:
        raise InvalidValue(
            "response", "", "a response", remedy="The model wrote nothing here: give one."
        )
    return text


def _by_heuristic(evidence: Evidence) -> Judgement:
    tokens = evidence.generation.tokens
    probs = [min(1.0, math.exp(each)) for each in tokens.logprobs.tolist()]
    entropy = evidence.generation.mean_entropy
    return Judgement(
        estimate_uncertainty(entropy, probs),
        {
            "mean-entropy": -min(1.0, entropy / ENTROPY_SCALE) / 2,
            "mean-prob": -(1.0 - sum(probs) / len(probs)) / 2,
        },
    )


def _decide(fusion: Fusion | None, judgement: Judgement) -> tuple[Method, Decision]:
    if fusion is None:
        return "heuristic", "review"
    return "fusion", "accept" if fusion.accepts(judgement.uncertainty) else "review"


def _checks(evidence: Evidence, judgement: Judgement) -> tuple[Check, ...]:
    added: Mapping[str, float] = judgement.contributions
    total = sum(abs(each) for each in added.values())
    names = [*CHECKS, *(name for name in evidence.values if name not in CHECKS)]
    paid: set[str] = set()
    found = []
    for name in names:
        info = check_info(name)
        cost = evidence.costs.get(info.way)
        first = info.way not in paid and cost is not None
        paid.add(info.way)
        contribution = added.get(name, 0.0)
        found.append(
            Check(
                name=name,
                value=evidence.values.get(name),
                unit=info.unit,
                meaning=info.meaning,
                contribution=contribution,
                weight=abs(contribution) / total if total else 0.0,
                n_tokens=cost.n_tokens if first and cost is not None else 0,
                seconds=cost.seconds if first and cost is not None else 0.0,
                note="" if name in evidence.values else evidence.missing.get(info.way, ""),
            )
        )
    return tuple(found)


def _notes(
    evidence: Evidence,
    fusion: Fusion | None,
    manifest: VerifierManifest | None,
    origin: Origin,
    plan: Plan,
    *,
    is_cut: bool,
) -> tuple[str, ...]:
    notes = []
    if manifest is None:
        notes.append(UNVALIDATED)
    elif fusion is None:
        notes.append("This verifier's checks could not all be read. " + UNVALIDATED)
    else:
        if fusion.origin != origin:
            notes.append(
                f"The verifier was trained on {fusion.origin} responses; this one was {origin}."
            )
        fullest = max(len(each.checks) for each in manifest.fusions)
        if len(fusion.checks) < fullest:
            notes.append(
                f"Judged by {len(fusion.checks)} checks instead of {fullest}: the others were not "
                "all read."
            )
        if "agreement" in fusion.checks and plan.k != manifest.plan.k:
            notes.append(
                f"The verifier was trained with {manifest.plan.k} samples; here it had {plan.k}."
            )
    if is_cut:
        notes.append(
            f"The answer that is judged was cut off at {counted(plan.max_tokens, 'token')}, the "
            "most allowed."
        )
    if evidence.n_truncated:
        were = "was" if evidence.n_truncated == 1 else "were"
        notes.append(
            f"{evidence.n_truncated} of the model's own answers {were} cut off at the most tokens "
            "allowed."
        )
    return tuple(notes)
