"""The loss while an adapter is fitted, and the step whose weights were kept. Draws only."""

from dataclasses import dataclass
from typing import Any

from glassbox.charts import style
from glassbox.charts.chart import Chart, plain
from glassbox.charts.registry import chart_info
from glassbox.charts.style import Axes
from glassbox.errors import InvalidValue


@dataclass(frozen=True)
class TrainingCurve:
    """Losses over the steps of the optimiser."""

    step: tuple[int, ...]
    """Steps done at each validation."""
    epoch: tuple[float, ...]
    """Passes over the data at each validation."""
    train_loss: tuple[float, ...]
    """Mean training loss since the validation before."""
    validation_loss: tuple[float, ...]
    """Mean loss on the validation rows."""
    best_step: int
    """The step whose weights were kept."""
    n_train: int
    """Rows trained on."""
    n_validation: int
    """Rows validated on."""


def training_curve(value: TrainingCurve) -> Chart:
    """Return training and validation loss over the epochs, with the kept step marked.

    Raises:
        InvalidValue: No points, series of different length, or a kept step that has no point.
    """
    sizes = {len(each) for each in (value.step, value.epoch, value.train_loss)}
    if sizes != {len(value.validation_loss)} or 0 in sizes:
        raise InvalidValue("points of the training curve", sorted(sizes), "equal numbers, not 0")
    if value.best_step not in value.step:
        raise InvalidValue("the kept step", value.best_step, f"one of {list(value.step)}")
    info = chart_info("training_curve")
    best = value.validation_loss[value.step.index(value.best_step)]
    subtitle = (
        f"{style.count(value.n_train)} rows trained on, "
        f"{style.count(value.n_validation)} rows for validation · kept: step "
        f"{style.count(value.best_step)}, validation loss {best:.3f}"
    )
    with style.drawing():
        figure = style.sheet(8.2, 4.9, info.title, subtitle)
        axes = style.place(figure, (0.95, 0.62, 5.7, 3.4))
        _lines(axes, value)
        axes.set(xlabel="Epochs: passes over the training rows", ylabel="Loss, nats per text")
    summary = f"{info.alt} Kept: step {value.best_step}, validation loss {best:.3f}."
    return Chart(info, figure, plain(value), summary)


def _lines(axes: Axes, value: TrainingCurve) -> None:
    training, validation = style.MUTED, style.stroke("tuned")
    look: dict[str, Any] = {
        "linewidth": 1.8,
        "marker": "o",
        "markersize": 4.5,
        "markerfacecolor": "white",
    }
    axes.plot(value.epoch, value.train_loss, color=training, **look)
    axes.plot(value.epoch, value.validation_loss, color=validation, **look)
    kept = value.step.index(value.best_step)
    axes.axvline(
        value.epoch[kept], color=style.RULE, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1.5
    )
    axes.scatter(
        [value.epoch[kept]], [value.validation_loss[kept]], s=75, facecolor=style.face("tuned"),
        edgecolor=style.INK, linewidth=1.2, zorder=5,
    )  # fmt: skip
    axes.set_xlim(left=0)
    axes.margins(y=0.12)
    # The two names stand at the ends of their lines, on the outer side of each.
    is_above = value.train_loss[-1] > value.validation_loss[-1]
    for name, losses, colour, lift in (
        ("training", value.train_loss, training, 5 if is_above else -5),
        ("validation", value.validation_loss, validation, -5 if is_above else 5),
    ):
        axes.annotate(
            name, (value.epoch[-1], losses[-1]), xytext=(10, lift), textcoords="offset points",
            va="center", size=9.5, weight="bold", color=colour, annotation_clip=False,
        )  # fmt: skip
