"""``python -m recipes.verify_facts``: train the verifier that ships, and prove it on the facts.

Asks the embedded model about every fact (resumable, chunk by chunk), prints the table of
``docs/explanation/verify.md`` with every entity judged by fusions that never saw it, and writes
the verifier, fitted on the entities of the train split, into the package. ``--report FILE`` also
writes the table's numbers as JSON.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from glassbox.artifacts import write_json
from glassbox.introspection.evidence.gathering import gather
from glassbox.introspection.evidence.swaps import learn_swaps
from glassbox.introspection.evidence.witness import Plan, Witness, plain_encode
from glassbox.introspection.training.figures import FUSION, judge_rows, measure
from glassbox.introspection.training.fusions import Recipe, Values, fit_fusions, split
from glassbox.introspection.training.graded import GradedRow, data_digest
from glassbox.introspection.training.verifier import standing_pairs
from glassbox.introspection.verifier.file import VerifierManifest
from glassbox.runtime import SHIPPED_VERIFIER, Runtime
from recipes.tiny.facts import Fact
from recipes.verify_facts.facts import embedded_facts, facts_plan, graded_facts
from recipes.verify_facts.proof import Proof, cross_fit, prove

CHUNK = 90
"""Facts asked about before the evidence is written."""
N_EACH = 12
"""Swaps of each place: the model is small, and they are what tells a guess from a memory."""


def main() -> None:
    """Gather, prove, train and write."""
    parser = argparse.ArgumentParser(prog="python -m recipes.verify_facts", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/verify_facts"))
    parser.add_argument("--chunks", type=int, default=None, help="stop after so many chunks")
    parser.add_argument("--report", type=Path, default=None)
    asked = parser.parse_args()
    runtime = Runtime.load()
    engine = runtime.open_engine(runtime.model_spec("tiny"))
    facts = embedded_facts()
    encode = plain_encode(engine.codec)
    swaps = learn_swaps([encode(fact.prompt).ids for fact in facts])
    assert swaps is not None
    plan = replace(facts_plan(), swaps=replace(swaps, n_each=N_EACH))
    witness = Witness(engine, encode, plan)
    done = 0
    for number, chunk in enumerate(_chunks(facts)):
        path = asked.work / f"evidence-{number:02d}.json"
        if not path.exists() and (asked.chunks is None or done < asked.chunks):
            write_json(path, _asked(witness, chunk))
            done += 1
            print(path, flush=True)
    info = engine.info
    engine.close()
    paths = sorted(asked.work.glob("evidence-*.json"))
    if len(paths) < len(list(_chunks(facts))):
        return
    records = [record for path in paths for record in json.loads(path.read_text())]
    rows = [GradedRow(**record["row"]) for record in records]
    values: list[Values] = [record["values"] for record in records]
    proof = prove(cross_fit(rows, values, Recipe()))
    show(proof)
    if asked.report is not None:
        write_json(asked.report, asdict(proof))
    _ship(plan, info.name, info.digest, rows, values)


def _chunks(facts: list[Fact]) -> Iterator[list[Fact]]:
    for start in range(0, len(facts), CHUNK):
        yield facts[start : start + CHUNK]


def _asked(witness: Witness, facts: list[Fact]) -> list[dict[str, object]]:
    rows = graded_facts(witness.engine, facts)
    evidence = gather(witness, standing_pairs(witness, rows))
    return [
        {"row": asdict(row), "values": dict(each.values)}
        for row, each in zip(rows, evidence, strict=True)
    ]


def show(proof: Proof) -> None:
    """Print the proof as the tables of the documentation."""
    print("\n| told | responses | fusion | best check | fusion minus it | knower | told reader |")
    print("|---|---|---|---|---|---|---|")
    for each in proof.slices:
        fused, best = each.separation[FUSION].auroc, each.separation[each.best_single]
        behind = best.behind
        print(
            f"| {each.name} | {each.n_rows:,} | {fused.estimate:.3f} ({fused.low:.3f} to "
            f"{fused.high:.3f}) | {each.best_single} {best.auroc.estimate:.3f} | "
            f"{behind.estimate:+.3f} ({behind.low:+.3f} to {behind.high:+.3f}) | "
            f"{each.knower:.3f} | {each.told:.3f} |"
        )
    print("\n| responses | fact told | wrong | mean uncertainty | gap |\n|---|---|---|---|---|")
    for stratum in proof.strata:
        print(
            f"| {stratum.origin} | {stratum.stratum} | {stratum.error_rate:.3f} | "
            f"{stratum.mean_uncertainty:.3f} | {stratum.gap:+.3f} |"
        )
    print(f"\nECE {proof.ece:.3f} (a perfectly calibrated one: {proof.null.mean:.3f})")
    reach = proof.slices[1]
    print({name: round(each.auroc.estimate, 3) for name, each in reach.separation.items()})


def _ship(plan: Plan, model: str, digest: str, rows: list[GradedRow], values: list[Values]) -> None:
    recipe = Recipe(shares=(0.5, 0.2, 0.3, 0.0))
    parts = split(rows, recipe)
    fusions = fit_fusions(rows, values, parts, recipe)
    test = [at for at, part in enumerate(parts) if part == "test"]
    judged = judge_rows([rows[i] for i in test], [values[i] for i in test], fusions)
    figures = measure(judged)
    manifest = VerifierManifest(
        model=model,
        model_digest=digest,
        plan=plan,
        fusions=fusions,
        data_digest=data_digest(rows),
        figures=figures.to_json(),
        seed=recipe.seed,
    )
    path = manifest.save(SHIPPED_VERIFIER)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB; {len(test)} test rows, AUROC "
          f"{figures.separation[FUSION].auroc.estimate:.3f}; accepts {figures.n_accepted}, "
          f"{figures.n_accepted_wrong} of them wrong")  # fmt: skip
    for fusion in fusions:
        print(f"  {fusion.origin}, {len(fusion.checks)} checks: {fusion.promise}")


if __name__ == "__main__":
    main()
