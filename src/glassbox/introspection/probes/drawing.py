"""A trained probe's pictures: hands its figures to ``charts`` and draws nothing itself."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glassbox.charts.chart import Chart, ChartFiles, save
from glassbox.charts.probes import (
    LayerMap,
    ProbabilityPanel,
    RocPanel,
    probe_layers,
    probe_reliability,
    probe_roc,
)
from glassbox.introspection.probes.capture_cache import Place
from glassbox.introspection.probes.choice import LOGISTIC, MEANS, places_of
from glassbox.introspection.probes.figures import Choice
from glassbox.introspection.probes.training import TrainedProbe
from glassbox.stats.calibration.bands import binned_band
from glassbox.stats.calibration.binning import reliability_curve
from glassbox.stats.classification.detection import roc_curve

PART = "test part"
"""Where everything but the heat map is measured."""

N_BINS = 10
"""Bins of the reliability diagram: a probe's test part is small."""


def probe_charts(trained: TrainedProbe) -> Iterator[Chart]:
    """Yield the heat map, the ROC curves and the reliability diagram of a probe.

    Raises:
        DependencyMissing: matplotlib is not installed.
    """
    readings, test = trained.readings, trained.test
    yield probe_layers(layer_map(trained.choice, trained.probe.model.name))
    areas = {each.name: each.auroc for each in trained.baselines}
    yield probe_roc(
        RocPanel(
            part=PART,
            probe=roc_curve(readings.logits, readings.is_positive),
            auroc=test.auroc,
            tpr_at_1_percent_fpr=test.tpr_at_1_percent_fpr,
            baselines={
                name: (roc_curve(readings.baselines[name], readings.is_positive), area)
                for name, area in areas.items()
            },
        )
    )
    yield probe_reliability(
        ProbabilityPanel(
            part=PART,
            target=trained.probe.target,
            curve=reliability_curve(readings.probs, readings.is_positive, n_bins=N_BINS),
            band=binned_band(readings.probs, n_bins=N_BINS),
            ece=test.ece,
            null=test.null,
        )
    )


def layer_map(choice: Choice, model: str) -> LayerMap:
    """Return the AUROC of every place as a table of poolings and kinds by layers."""
    tables = {kind: places_of(choice, kind) for kind in (LOGISTIC, MEANS)}
    places = list(tables[LOGISTIC])
    layers = tuple(sorted({place.layer for place in places}))
    rows = [
        (pooling, kind)
        for kind in tables
        for pooling in dict.fromkeys(place.pooling for place in places)
    ]
    chosen = choice.chosen
    return LayerMap(
        title=model,
        part=f"{choice.n_folds} folds of the training part",
        n_rows=choice.n_rows,
        layers=layers,
        rows=tuple(f"{pooling}, {kind}" for pooling, kind in rows),
        auroc=np.array(
            [[tables[kind][Place(layer, pooling)] for layer in layers] for pooling, kind in rows]
        ),
        chosen=(rows.index((chosen.place.pooling, chosen.kind)), layers.index(chosen.place.layer)),
        n_tried=choice.n_tried,
        corrected=choice.corrected_auroc,
    )


def write_probe_charts(trained: TrainedProbe, folder: Path) -> list[ChartFiles]:
    """Write PNG, SVG and JSON of every chart below ``folder`` and return where they are.

    Raises:
        DependencyMissing: matplotlib is not installed.
        NoDiskSpace: The device is full.
    """
    return [save(chart, folder) for chart in probe_charts(trained)]
