"""The planted world: latents whose effect is known, put into dictionaries beside the others.

Two chains are planted, one for each framing. The first latent of a chain fires on the words that
make a prompt safe (or risky) and writes, in an early layer, the direction that moves the decision
most. The second reads the decision where it is made, in a late layer, and writes what moves it
there; the first drives it through attention, for they act at different tokens. Beside each stand
nulls: the same encoder row, so the same activations and the same difference between the kinds of
prompt, and a decoder row of the same length along which nothing changes. Who looks at activations
alone cannot tell them apart; who intervenes can.

What was planted is measured by adding it to the model, on prompts that were not used to find it,
and recorded. Knows nothing of the experiment's own runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.artifacts import digest_json, digest_texts, read_object, write_json
from glassbox.engine.protocol import Engine
from glassbox.engine.states.taps import Taps
from glassbox.errors import ConflictError, InvalidValue, UnsupportedModel
from glassbox.pathways.experiment.conditions import KINDS, Kind
from glassbox.pathways.experiment.directions import (
    Bench,
    centred_reading,
    fit_reading,
    idle_directions,
    moving_direction,
)
from glassbox.pathways.experiment.planted import (
    PLANTED_SCHEMA,
    Planted,
    PlantedLatent,
    Role,
    read_planted,
)
from glassbox.pathways.experiment.prompts import choose_pairs, prompts_path, read_pairs
from glassbox.pathways.experiment.run import LEASE_S, first_tokens, grid_of
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import Dictionaries, open_dictionaries
from glassbox.pathways.saes.sae import Sae
from glassbox.pathways.saes.writing import save_sae
from glassbox.pathways.sections import ExperimentSection
from glassbox.types import HookPoint

N_SEARCH_PAIRS = 32
"""Pairs of prompts that directions are sought on; others than the experiment's, if there are
enough."""

EARLY_LENGTH = 0.7
"""Mean activation of an early planted latent on its words, as a share of the residual's length
there. Chosen so that the change of the decision is far beyond the noise of 30 trials."""

LATE_LENGTH = 0.25
"""The same of a late one at the last token, where far less is enough."""

LEAST_EFFECT = 0.15
"""Change of the probability of stopping that a planted causal latent must have."""


@dataclass(frozen=True, eq=False)
class _Row:
    """A latent to be appended to a dictionary."""

    role: Role
    side: Kind
    place: str
    w_enc: Float[Tensor, " d"]
    b_enc: float
    w_dec: Float[Tensor, " d"]
    twin: int | None = None
    """For a null: number of the row it is the twin of."""

    def activations(self, residuals: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """Return what it would have."""
        return (residuals @ self.w_enc + self.b_enc).relu()


def plant_world(
    section: ExperimentSection,
    engine: Engine,
    dictionaries: Dictionaries,
    folder: Path,
    record: Path,
) -> Planted:
    """Return the dictionaries with planted latents, after writing them; or what is there already.

    Args:
        section: Seed, layer, number of nulls, prompts.
        engine: Its model is lent for the search.
        dictionaries: What is planted into; ReLU or JumpReLU.
        folder: Gets one folder a layer, in SAELens' format.
        record: ``planted.json``; written last.

    Raises:
        ConflictError: Something else was planted there.
        InvalidValue: ``plant_layer`` leaves no layer above it, or has no SAE.
        UnsupportedModel: A TopK dictionary, or a model whose decision nothing moves.
        CorruptArtifact: What is there is damaged.
        NoDiskSpace: The device is full.
    """
    identity = _identity(section, engine, dictionaries)
    if record.is_file():
        return _planted_before(folder, record, identity)
    early, late = _layers(section, dictionaries)
    for layer in (early, late):
        if dictionaries.reader(layer).k is not None:
            raise UnsupportedModel(
                f"The SAE of layer {layer} is TopK: planted latents would push others out."
            )
    used, others = choose_pairs(
        read_pairs(prompts_path(section.prompts)), section.n_pairs, section.seed
    )
    enough = len(others) >= N_SEARCH_PAIRS
    search = others[:N_SEARCH_PAIRS] if enough else used[:N_SEARCH_PAIRS]
    stop_and_go = first_tokens(engine)
    if stop_and_go is None:
        raise UnsupportedModel(
            'The tokenizer begins "stop" and "continue" with one token: no decision to be planted.'
        )
    ids = [tuple(sorted(each)) for each in stop_and_go]
    with engine.lend(lease_s=LEASE_S) as lent:
        taps = Taps(lent.model)
        lent.model.requires_grad_(False)
        bench = Bench(lent.model, taps, grid_of(section, engine, search), ids[0], ids[1])
        rows = _rows(bench, early, late, section.plant_nulls)
        proof = Bench(lent.model, taps, grid_of(section, engine, used), ids[0], ids[1])
        latents = _measured(proof, rows, early, late, dictionaries)
    _require_effect(latents)
    _write(dictionaries, folder, {early: rows[early], late: rows[late]})
    content = {
        "schema_version": PLANTED_SCHEMA,
        "identity": identity,
        "causal": next(each.name for each in latents if each.role == "causal"),
        "driven": [each.name for each in latents if each.role == "driven"],
        "nulls": [each.name for each in latents if each.role == "null"],
        "latents": [asdict(each) for each in latents],
        "layers": [early, late],
        "searched_on": "other pairs than the experiment's" if enough else "the experiment's pairs",
        "how": " ".join((__doc__ or "").split()),
    }
    write_json(record, content)
    return Planted(open_dictionaries(folder), latents)


def _planted_before(folder: Path, record: Path, identity: str) -> Planted:
    latents = read_planted(record)
    if read_object(record, schema=PLANTED_SCHEMA).get("identity") != identity:
        raise ConflictError(
            f"{record} was planted under another configuration. Use another study.out, or remove "
            "the experiment's files to have them made anew."
        )
    return Planted(open_dictionaries(folder), latents)


def _identity(section: ExperimentSection, engine: Engine, dictionaries: Dictionaries) -> str:
    pairs = read_pairs(prompts_path(section.prompts))
    return digest_json(
        {
            "model": [engine.info.digest, engine.info.dtype],
            "dictionaries": dictionaries.digest,
            "prompts": digest_texts(text for pair in pairs for text in (pair.safe, pair.risky)),
            "settings": [
                section.n_pairs, section.seed, section.plant_layer, section.plant_nulls,
                section.positions,
            ],
        }
    )  # fmt: skip


def _layers(section: ExperimentSection, dictionaries: Dictionaries) -> tuple[int, int]:
    layers = dictionaries.layers
    if section.positions == "last":
        raise InvalidValue(
            "experiment.positions", section.positions,
            "pair, with experiment.plant: the planted causal latent acts on the framing's words",
        )  # fmt: skip
    early = section.plant_layer if section.plant_layer is not None else layers[len(layers) // 4]
    late = layers[(3 * len(layers)) // 4]
    if early not in layers or early >= late:
        raise InvalidValue(
            "experiment.plant_layer", early, f"a layer with an SAE below layer {late}"
        )
    return early, late


def _rows(bench: Bench, early: int, late: int, n_nulls: int) -> dict[int, list[_Row]]:
    """Return the rows to be appended, by layer."""
    residuals = bench.residuals((early, late))
    last = residuals[late][:, -1]
    reading = centred_reading(last[bench.is_safe], last[~bench.is_safe])
    rows: dict[int, list[_Row]] = {early: [], late: []}
    for layer, place, share in ((early, "span", EARLY_LENGTH), (late, "last", LATE_LENGTH)):
        where = bench.place(place)
        length = share * float(residuals[layer][where].norm(dim=1).median())
        direction = moving_direction(bench, layer, place, length)
        for side in KINDS:
            sign = 1.0 if side == "safe" else -1.0
            own = where & (bench.is_safe == (side == "safe"))[:, None]
            if place == "span":
                known = bench.grid.present.to(bench.device) & (
                    bench.grid.positions.to(bench.device) > 0
                )
                weights, bias = fit_reading(residuals[layer][known], own[known])
            else:
                weights, bias = sign * reading[0], sign * reading[1]
            row = _Row(
                "causal" if layer == early else "driven", side, place, weights, bias,
                sign * direction,
            )  # fmt: skip
            mean = float(row.activations(residuals[layer])[own].mean())
            if not mean > 0:
                raise UnsupportedModel(
                    f"Layer {layer} does not tell {side} prompts from the others: nothing can be "
                    "planted there."
                )
            scale = length / mean
            rows[layer].append(replace(row, w_enc=weights * scale, b_enc=bias * scale))
    _add_nulls(bench, rows, early, late, reading[0], n_nulls)
    return rows


def _add_nulls(
    bench: Bench,
    rows: dict[int, list[_Row]],
    early: int,
    late: int,
    reading: Float[Tensor, " d"],
    n_nulls: int,
) -> None:
    """Append nulls: early and late in turn, safe and risky in turn."""
    wanted = [(early, late)[number % 2] for number in range(n_nulls)]
    for layer in sorted(set(wanted)):
        n = wanted.count(layer)
        read = (late, reading) if layer == early else None
        directions = idle_directions(bench, layer, rows[layer][0].place, read, n)
        for number, direction in enumerate(directions):
            twin = rows[layer][number % 2]
            rows[layer].append(replace(twin, role="null", w_dec=direction, twin=number % 2))


def _measured(
    bench: Bench,
    rows: Mapping[int, Sequence[_Row]],
    early: int,
    late: int,
    dictionaries: Dictionaries,
) -> tuple[PlantedLatent, ...]:
    """Return the planted latents with their effects on a bench's prompts."""
    residuals = bench.residuals((early, late))
    first = {layer: dictionaries.reader(layer).d_sae for layer in (early, late)}
    names = {
        layer: [LatentId(layer, first[layer] + number).name for number in range(len(rows[layer]))]
        for layer in (early, late)
    }
    before = torch.cat([bench.decide(each) for each in bench.passes()]).sigmoid()
    found = []
    for layer in (early, late):
        for number, row in enumerate(rows[layer]):
            partner = rows[late][KINDS.index(row.side)] if layer == early else None
            effect, drive = _effect(bench, before, residuals, (layer, late), row, partner)
            found.append(
                PlantedLatent(
                    name=names[layer][number],
                    role=row.role,
                    side=row.side,
                    twin="" if row.twin is None else names[layer][row.twin],
                    drives=names[late][KINDS.index(row.side)] if row.role == "causal" else "",
                    effect=round(effect, 4),
                    drive=round(drive, 4),
                )
            )
    return tuple(found)


def _effect(
    bench: Bench,
    before: Float[Tensor, " prompts"],
    residuals: Mapping[int, Float[Tensor, "prompts columns d"]],
    layers: tuple[int, int],
    row: _Row,
    partner: _Row | None,
) -> tuple[float, float]:
    """Return the change of P(stop), and of the partner's pre-activation, in the row's own prompts.

    The row is held, at its place, at its mean in the other kind of prompt.

    Args:
        bench: Model and prompts.
        before: P(stop) with nothing changed.
        residuals: By layer, with nothing changed.
        layers: The row's layer, and the late one.
        row: What is changed.
        partner: The late row that is read, if any.
    """
    layer, late = layers
    own = bench.is_safe == (row.side == "safe")
    active = row.activations(residuals[layer])
    where = bench.place(row.place)
    elsewhere = active[where & ~own[:, None]].mean()
    delta = torch.where(where, elsewhere - active, 0.0)[..., None] * row.w_dec
    after, moved = [], []
    point = HookPoint(late, "resid_post")
    for rows in bench.passes():
        with bench.taps.tapped([point] if partner else []) as seen:
            after.append(bench.decide(rows, {layer: delta[rows]}))
        if partner is not None:
            change = seen[point][:, -1].float() - residuals[late][rows, -1]
            moved.append(change @ partner.w_enc)
    drive = 0.0
    if partner is not None:
        usual = partner.activations(residuals[late][:, -1])[own].mean()
        drive = float(torch.cat(moved)[own].mean() / usual)
    change_p = torch.cat(after).sigmoid() - before
    return float(change_p[own].mean()), drive


def _require_effect(latents: Sequence[PlantedLatent]) -> None:
    for each in latents:
        if each.role != "null" and abs(each.effect) < LEAST_EFFECT:
            raise UnsupportedModel(
                f"The strongest direction for {each.name} changes the probability of stopping by "
                f"{each.effect:+.3f} only ({LEAST_EFFECT} is needed to be found in the trials). "
                "Choose another experiment.plant_layer, or prompts that the model decides on."
            )


def _write(dictionaries: Dictionaries, folder: Path, rows: Mapping[int, Sequence[_Row]]) -> None:
    for layer in dictionaries.layers:
        sae = dictionaries.load(layer)
        dtype = getattr(torch, sae.source.dtype, torch.float32)
        if layer in rows:
            sae, dtype = _extended(sae, rows[layer]), torch.float32
        save_sae(sae, folder / f"layer_{layer}", dtype=dtype)


def _extended(sae: Sae, rows: Sequence[_Row]) -> Sae:
    return replace(
        sae,
        w_enc=torch.cat([sae.w_enc, torch.stack([each.w_enc for each in rows]).cpu()]),
        b_enc=torch.cat([sae.b_enc, torch.tensor([each.b_enc for each in rows])]),
        w_dec=torch.cat([sae.w_dec, torch.stack([each.w_dec for each in rows]).cpu()]),
        threshold=torch.cat([sae.threshold, torch.zeros(len(rows))]),
    )
