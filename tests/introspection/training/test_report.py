"""The report of a trained verifier: the main job's form, the verifier's own numbers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from glassbox.introspection.evidence.checks import READING
from glassbox.introspection.evidence.witness import Plan
from glassbox.introspection.training.figures import FUSION, judge_rows, measure
from glassbox.introspection.training.fusions import Recipe, fit_fusions, split
from glassbox.introspection.training.graded import GradedRow
from glassbox.introspection.training.report import write_report
from glassbox.introspection.training.verifier import Trained
from glassbox.introspection.verifier.file import VerifierManifest


def trained(max_error: float, n: int = 2000) -> Trained:
    """Return a verifier of rows whose log-probability tells right from wrong."""
    rng = np.random.default_rng(0)
    rows, values = [], []
    for number in range(n):
        chance = rng.random()
        rows.append(
            GradedRow(
                f"p{number}", "r" * (1 + number % 5), bool(rng.random() < chance),
                stratum=f"s{number % 3}",
            )
        )  # fmt: skip
        read = {"mean-logprob": math.log(chance + 1e-3), "agreement": rng.random()}
        values.append(dict.fromkeys(READING, 0.5) | read)
    recipe = Recipe(max_error=max_error)
    parts = split(rows, recipe)
    fusions = fit_fusions(rows, values, parts, recipe)
    test = [at for at, part in enumerate(parts) if part == "test"]
    judged = judge_rows([rows[i] for i in test], [values[i] for i in test], fusions)
    manifest = VerifierManifest("fake", "ab" * 32, Plan(k=4), fusions, "cd" * 32)
    counts = {each: parts.count(each) for each in ("fusion", "calibrator", "threshold", "test")}
    return Trained(manifest, measure(judged, n_draws=50), judged, counts)


@pytest.mark.parametrize("max_error", [0.2, 0.0001])
def test_the_report_holds_what_was_measured(tmp_path: Path, max_error: float) -> None:
    found = trained(max_error)
    figures = found.figures
    text = write_report(found, tmp_path).read_text(encoding="utf-8")
    # A number and its unit stay in one line.
    text = text.replace("\N{NO-BREAK SPACE}", " ")
    fused = figures.separation[FUSION].auroc
    assert f"{fused.estimate:.3f}" in text
    assert f"{fused.low:.3f} to {fused.high:.3f}" in text
    for name, each in figures.separation.items():
        assert name in text
        assert f"{each.auroc.estimate:.3f}" in text
    assert {each.stratum for each in figures.strata} == {"s0", "s1", "s2"}
    for stratum in figures.strata:
        assert f"{stratum.gap:+.3f}" in text
    for fusion in found.manifest.fusions:
        assert fusion.promise in text
    if max_error == 0.2:
        assert f"{figures.n_accepted_wrong} of those {figures.n_accepted:,} are wrong" in text
    else:
        assert figures.n_accepted == 0
        assert "No threshold keeps the promise" in text
    assert "http" not in text.split("<svg")[0], "nothing comes from elsewhere"


def test_the_charts_lie_beside_it_as_pictures_and_numbers(tmp_path: Path) -> None:
    found = trained(0.2)
    write_report(found, tmp_path)
    drawn = {each.stem: each for each in (tmp_path / "charts").rglob("*.json")}
    assert {"reliability_raw_model_output", "reliability_platt_scaling"} < set(drawn)
    assert len(drawn) == 3
    for path in drawn.values():
        assert path.with_suffix(".svg").is_file()
        assert path.with_suffix(".png").is_file()
    calibrated = json.loads(drawn["reliability_platt_scaling"].read_text())
    expected = 1 - found.judged.uncertainty.mean()
    assert f"{expected:.6f}"[:6] in json.dumps(calibrated)
