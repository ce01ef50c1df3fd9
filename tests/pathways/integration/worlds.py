"""A made-up finished study: numbers drawn from a seed, no model behind them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from glassbox.pathways.integration.assembly import Assembled, assemble, write_study
from glassbox.pathways.integration.summary import AblationPoint, StudySummary, SubgraphTest
from glassbox.pathways.integration.values import (
    ConditionRate,
    DoseEffect,
    Histogram,
    LatentRow,
    LensToken,
    PathwayRow,
    StoredCard,
    TokenRow,
    TopContext,
)

CONDITIONS = (
    "safe_baseline",
    "safe_with_risky_patch",
    "risky_baseline",
    "risky_with_safe_patch",
    "safe_amplification",
    "risky_amplification",
)
WORDS = (" lost", " win", " rent", " coins", " limit", " tired", " jackpot", " supper", " double",
         " spins", " machine", " home", "\n", " at", " any", " cost")  # fmt: skip
TEXT = ("You", " sit", " at", " a", " slot", " machine", " with", " 57", " coins", ".", " You",
        " must", " win", " back", " what", " you", " lost", " at", " any", " cost", ".", "\n",
        "Decision", ":")  # fmt: skip


def made_up_rows(
    *, n_layers: int = 6, per_layer: int = 6, seed: int = 0
) -> tuple[list[LatentRow], list[PathwayRow], list[TokenRow]]:
    """Rows as the steps before would hand them over."""
    rng = np.random.default_rng(seed)
    latents = []
    for layer in range(1, n_layers + 1):
        for index in sorted(rng.choice(1024, per_layer, replace=False).tolist()):
            d = float(rng.normal(0, 0.9))
            effect = float(rng.normal(0, 0.15 * layer))
            latents.append(
                LatentRow(
                    name=f"L{layer}-{index}", layer=layer, index=index, is_causal=abs(d) > 0.5,
                    cohen_d=d, hedges_g=d * 0.987, effect_low=d - 0.52, effect_high=d + 0.52,
                    q=float(np.exp(-3 * abs(d))), n_active=int(rng.integers(60, 900)),
                    active_share=float(rng.uniform(0.01, 0.3)),
                    activation_mean=float(rng.uniform(0.5, 2)),
                    activation_max=float(rng.uniform(3, 9)), decision_effect=effect,
                    decision_low=effect - 0.2, decision_high=effect + 0.2,
                    decision_q=float(np.exp(-12 * abs(effect))),
                )
            )  # fmt: skip
    group = {row.name: number % 3 for number, row in enumerate(latents)}
    return latents, _pathways(latents, group, rng), _tokens(latents, group, rng)


def _pathways(latents, group, rng):
    rows = []
    for target in latents:
        below = [row for row in latents if row.layer < target.layer]
        raw = np.array(
            [
                rng.gamma(0.5) * (4 if group[row.name] == group[target.name] else 0.6)
                for row in below
            ]
        )
        shares = raw / raw.sum() if len(below) else raw
        for source, share in zip(below, shares.tolist(), strict=True):
            if share < 0.02:
                continue
            gradient = float(rng.normal(0, 0.5))
            replayed = share > 0.05
            verified = bool(rng.random() < 0.7) if replayed else None
            doses = ()
            if replayed:
                doses = tuple(
                    DoseEffect(dose, -gradient * size,
                               -gradient * size * float(rng.uniform(0.6, 1.2)),
                               -gradient * size * 0.8, float(rng.integers(0, 3)), 8)
                    for dose, size in (("ablate", 1.0), ("half", 0.5), ("double", -1.0))
                )  # fmt: skip
            rows.append(
                PathwayRow(
                    source=source.name, target=target.name, source_layer=source.layer,
                    target_layer=target.layer, n_contexts=8, n_active=int(rng.integers(2, 9)),
                    gradient_mean=gradient, gradient_sd=abs(gradient) * 0.3,
                    attribution_mean=gradient * 1.3, attribution_share=share,
                    direct=gradient * 0.6, mediated=gradient * 0.4,
                    same_position_share=float(rng.uniform(0.2, 1)), path="past", mode="total",
                    doses=doses, sign_agreement=0.95 if replayed else None,
                    p=0.002 if verified else (0.4 if replayed else None),
                    q=0.01 if verified else (0.5 if replayed else None), verified=verified,
                )
            )  # fmt: skip
    return rows


def _tokens(latents, group, rng):
    rows = []
    for row in latents:
        near = WORDS[group[row.name] * 5 : group[row.name] * 5 + 6]
        for token in rng.choice(near, 4, replace=False).tolist():
            n_fires = int(rng.integers(5, row.n_active // 3))
            z = float(rng.uniform(2, 20))
            for condition, offset in (("all", 0), ("all", 1), ("risky_baseline", 0)):
                rows.append(
                    TokenRow(
                        latent=row.name, token=token, token_id=WORDS.index(token) + 300,
                        condition=condition, offset=offset, n_fires=n_fires, n_token=n_fires * 2,
                        log_odds=z / 5, z=z - offset, pmi=z / 8, p=1e-6, q=1e-4, p_shift=0.005,
                        q_shift=0.02, activation_mean=1.5,
                    )
                )  # fmt: skip
    return rows


def made_up_cards(latents: list[LatentRow], seed: int = 1) -> list[StoredCard]:
    """Cards for these latents."""
    rng = np.random.default_rng(seed)
    cards = []
    for row in latents:
        edges = np.linspace(0, row.activation_max, 21)
        counts = rng.poisson(200 * np.exp(-np.arange(20) / 4))
        contexts = []
        for number in range(5):
            values = np.maximum(0, rng.normal(-1, 2, len(TEXT)))
            contexts.append(
                TopContext(
                    TEXT, tuple(values.tolist()), int(values.argmax()),
                    CONDITIONS[number % 6], number, 0,
                )
            )  # fmt: skip
        lens = [
            LensToken(word, 300 + place, float(value))
            for place, (word, value) in enumerate(
                zip(WORDS, np.sort(rng.normal(0, 1, len(WORDS)))[::-1], strict=True)
            )
        ]
        rates = []
        for condition in CONDITIONS:
            stop = int(rng.binomial(30, 0.85 if condition.startswith("safe") else 0.2))
            share = stop / 30
            rates.append(ConditionRate(condition, 30, stop, share, max(0, share - 0.14),
                                       min(1, share + 0.14)))  # fmt: skip
        cards.append(
            StoredCard(
                row.name, Histogram(tuple(edges.tolist()), tuple(int(n) for n in counts)),
                tuple(contexts), tuple(lens[:8]), tuple(lens[:-9:-1]), tuple(rates),
            )
        )  # fmt: skip
    return cards


def made_up_summary(study: Assembled, name: str = "slots") -> StudySummary:
    """A summary that fits the rows."""
    return StudySummary(
        name=name,
        model="tiny",
        n_layers=6,
        n_latents=len(study.latents),
        n_candidates=len(study.pathways),
        n_replayed=sum(row.verified is not None for row in study.pathways),
        n_verified=sum(row.verified is True for row in study.pathways),
        n_tokens=len(study.tokens),
        n_expected_by_chance=3.2,
        conventions=(("path", "past later SAEs"), ("mode", "total"), ("SAE files", "saelens")),
        calibration=(("spearman", 0.93), ("slope", 0.88), ("sign_agreement", 0.97)),
        warnings=("L2-17: risky_amplification has only 18 trials (expected 30).",),
        subgraph=SubgraphTest(
            n_latents=len(study.latents), n_kept=len(study.subgraph), n_prompts=40, full=3.1,
            empty=0.7, kept=2.6, without=1.2, faithfulness=0.79, completeness=0.79,
            faithfulness_low=0.7, faithfulness_high=0.88, completeness_low=0.7,
            completeness_high=0.86, random_faithfulness=tuple(np.linspace(0.1, 0.6, 19).tolist()),
            p=0.05,
            curve=tuple(AblationPoint(n, 1 - float(np.exp(-n / 9))) for n in range(0, 37, 4)),
        ),
        provenance=(("model", "a" * 64), ("configuration", "b" * 64)),
    )  # fmt: skip


def made_up_study(**how) -> Assembled:
    """The rows, put together."""
    return assemble(*made_up_rows(**how))


def write_made_up_study(folder: Path, name: str = "slots", **how) -> Path:
    """Write a finished study into ``folder / name`` and return that folder."""
    study = made_up_study(**how)
    summary = replace(made_up_summary(study), name=name)
    write_study(folder / name, study, made_up_cards(list(study.latents)), summary)
    return folder / name
