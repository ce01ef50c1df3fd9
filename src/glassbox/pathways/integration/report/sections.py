"""The page's sections that are text and tables: paths, pathways, faithfulness, groups, warnings.

Each comes with what stands in it besides, by the name of the template's macro that draws it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from glassbox.charts.report import Section, Table
from glassbox.pathways.integration.report.pictures import (
    faithfulness_picture,
    number,
    prediction_picture,
    share,
)
from glassbox.pathways.integration.report.tokens import quoted
from glassbox.pathways.integration.summary import StudySummary, SubgraphTest
from glassbox.pathways.integration.values import Community, DecisionPath, LatentRow, PathwayRow
from glassbox.wording import counted

MOST_PATHS: Final = 20
"""Ways from tokens to the decision shown."""

MOST_WARNINGS: Final = 100
"""Warnings shown."""

LAST_ARROW: Final = (
    "The last arrow, from a latent to the decision, is held against random directions as those "
    "between latents are: written in the latent's place, at its positions and as long. There is "
    "an arrow where the latent moves the decision beyond them. Its strength is a share of the "
    "strongest one's."
)
"""What an effect on the decision is held against."""


@dataclass(frozen=True)
class Piece:
    """What stands in a section besides its text and tables."""

    kind: str
    """Name of the template's macro."""
    content: Any


def paths_section(paths: Sequence[DecisionPath]) -> tuple[Section, Piece | None]:
    """Return the section of ways from tokens to the decision."""
    if not paths:
        return Section(
            "Paths to the decision", ("No way leads from a token over latents to the decision.",)
        ), None
    n_verified = sum(path.verified for path in paths)
    rest = f" The first {MOST_PATHS} are shown." if len(paths) > MOST_PATHS else ""
    text = (
        f"{counted(len(paths), 'way')} from a token to the decision, {n_verified} of them with "
        "every arrow behind the token confirmed by an intervention. Those stand first, "
        "and before all the ways on which one latent drives another, weaker though they mostly "
        f"are; then the strongest.{rest} Strength is the product of the arrows' strengths; + "
        "pushes towards stopping, − towards going on.",
        LAST_ARROW,
    )
    return Section("Paths to the decision", text), Piece("paths", paths[:MOST_PATHS])


def pathways_section(
    rows: Sequence[PathwayRow], n_rows: int, replayed: Sequence[PathwayRow], summary: StudySummary
) -> tuple[Section, Piece | None]:
    """Return the section of pathways: the strongest as a table, all replayed ones as a picture."""
    text = [
        "Share is the part of all attribution to the target (gradient times activation) that the "
        "source has. Gradient and direct are for one unit more of the source: direct is what the "
        "decoder row alone gives. Mediated is the part of the attribution that went through "
        "attention and MLPs: a pathway that has next to none of it is mostly the same content, "
        "carried on."
    ]
    text += _calibration_words(dict(summary.calibration))
    table = Table(
        caption=f"Verified pathways, then the strongest others ({len(rows)} of {n_rows:,})",
        header=("Pathway", "share", "gradient", "direct", "mediated", "ablated: Δ target", "q",
                "verified"),
        rows=tuple(
            (
                f"{row.source} → {row.target}", share(row.attribution_share),
                number(row.gradient_mean), number(row.direct), number(row.mediated),
                number(row.effect), number(row.q, 2),
                {True: "yes", False: "no", None: "not replayed"}[row.verified],
            )
            for row in rows
        ),
    )  # fmt: skip
    picture = prediction_picture(replayed)
    piece = Piece(
        "figure",
        (picture, "Each point is one pathway whose source was ablated: predicted change of the "
         "target's pre-activation (gradient times change) against the measured one. Faint points "
         "were not verified. Both axes are signed square roots."),
    ) if picture else None  # fmt: skip
    return Section("Pathways", tuple(text), (table,) if rows else ()), piece


def _calibration_words(figures: Mapping[str, float]) -> list[str]:
    words = []
    names = {
        "spearman": "rank correlation",
        "slope": "slope",
        "sign_agreement": "same sign in",
        "within_factor_2": "within a factor of two in",
    }
    shares = ("sign_agreement", "within_factor_2")
    known = [
        f"{words_of} {share(figures[name]) if name in shares else number(figures[name])}"
        for name, words_of in names.items()
        if name in figures
    ]
    if known:
        words.append(f"Measured against predicted effects: {', '.join(known)}.")
    if "missed_share_high" in figures:
        words.append(
            "Of the pathways below the cut a random sample was replayed too, each in one text: at "
            f"most {share(figures['missed_share_high'])} of them (95 %) stand out there as far as "
            "the weakest verified one does in the mean of its texts."
        )
    return words


def n_driving(paths: Sequence[DecisionPath]) -> int:
    """Return how many latents are on a verified way on which one latent drives another."""
    long = (path.nodes[1:-1] for path in paths if path.verified)
    return len({name for latents in long if len(latents) > 1 for name in latents})


def subgraph_section(
    test: SubgraphTest | None, paths: Sequence[DecisionPath]
) -> tuple[Section, Piece | None]:
    """Return the section that tells how the found sub-graph stood the test."""
    title = "Faithfulness"
    if test is None:
        return Section(title, ("The sub-graph was not ablated in this study.",)), None
    if test.faithfulness is None:
        return Section(
            title,
            (
                "Setting all latents of the study to their means changes the framing's effect on "
                f"the decision by less than can be measured ({number(test.full)} and "
                f"{number(test.empty)} logits), so there is nothing that a sub-graph could carry.",
            ),
        ), None
    text = (
        "The framing's effect on the decision is the mean logit difference (stop less continue) "
        f"of safe prompts less that of risky ones. Untouched it is {number(test.full)}; with all "
        f"{counted(test.n_latents, 'latent')} of the study at their means {number(test.empty)}. "
        "The sub-graph is the latents on the strongest verified paths: "
        f"{n_driving(paths)} on paths on which one latent drives another, the others on paths of "
        "a single latent, for their own effect on the decision. Faithfulness is the share "
        "of that difference which is left when only the sub-graph is left alone; completeness "
        "the share that ablating it takes away. Latents outside the "
        "study and the SAEs' errors are never touched: the figures say nothing of them.",
    )
    rows = [
        ("everything (untouched)", number(test.full), "all of it"),
        (f"only the sub-graph ({counted(test.n_kept, 'latent')})", number(test.kept),
         _with_interval("faithfulness", test.faithfulness, test.faithfulness_low,
                        test.faithfulness_high)),
        ("all but the sub-graph", number(test.without),
         _with_interval("completeness", test.completeness, test.completeness_low,
                        test.completeness_high)),
        ("none of the study's latents", number(test.empty), "nothing"),
    ]  # fmt: skip
    notes = [f"{test.n_prompts} prompts; intervals are 95 % bootstrap intervals over pairs."]
    if test.random_faithfulness:
        mean = sum(test.random_faithfulness) / len(test.random_faithfulness)
        notes.append(
            f"{len(test.random_faithfulness)} random sub-graphs with as many latents on every "
            f"layer: mean faithfulness {share(mean)}; p = {number(test.p, 2)}. The found one was "
            "chosen by effects on these very prompts, they were not."
        )
    table = Table("Effect of the framing (logits)", ("Left alone", "effect", "share"), tuple(rows),
                  tuple(notes))  # fmt: skip
    caption = (
        "Line: the study's latents left alone one after the other. Large point: the found "
        "sub-graph with its interval. Faint points: random sub-graphs of the same size."
    )
    return Section(title, text, (table,)), Piece("figure", (faithfulness_picture(test), caption))


def _with_interval(what: str, value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    return f"{what} {share(value)} ({share(low)} to {share(high)})"


def communities_section(
    communities: Sequence[Community], latents: Sequence[LatentRow]
) -> tuple[Section, None]:
    """Return the section of groups and hubs."""
    hubs = sorted(latents, key=lambda row: (-row.betweenness, -row.out_strength, row.name))
    hubs = [row for row in hubs if row.n_upstream or row.n_downstream][:12]
    tables = []
    if communities:
        tables.append(
            Table(
                "Communities: latents that drive one another more than others",
                ("Community", "latents", "weight inside", "strongest members", "tokens"),
                tuple(
                    (
                        str(each.number), str(len(each.members)), share(each.share_inside),
                        ", ".join(each.members[:5]),
                        " ".join(quoted(token) for token in each.tokens[:6]),
                    )
                    for each in communities[:12]
                ),
            )
        )  # fmt: skip
    if hubs:
        tables.append(
            Table(
                "Hubs: latents that many strongest paths go through",
                ("Latent", "betweenness", "in", "out", "pathways in", "pathways out", "tokens"),
                tuple(
                    (
                        row.name, number(row.betweenness), number(row.in_strength),
                        number(row.out_strength), str(row.n_upstream), str(row.n_downstream),
                        " ".join(quoted(token) for token in row.top_tokens[:5]),
                    )
                    for row in hubs
                ),
                ("Betweenness is the share of strongest paths between other nodes that go "
                 "through the latent; in and out are sums of absolute strengths.",),
            )
        )  # fmt: skip
    text = () if tables else ("There are no pathways, so there are neither groups nor hubs.",)
    return Section("Communities and hubs", text, tuple(tables)), None


def warnings_section(warnings: Sequence[str]) -> Section:
    """Return the section of warnings."""
    more = len(warnings) - MOST_WARNINGS
    table = Table(
        "What the audit and the steps warned of",
        ("Warning",),
        tuple((each,) for each in warnings[:MOST_WARNINGS]),
        (f"{more} more in study.json.",) if more > 0 else (),
    )
    return Section("Warnings", (), (table,))
