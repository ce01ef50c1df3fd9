"""``python -m recipes.saes``: train the embedded model's SAEs and put them into the package.

Reads the corpus that ``python -m recipes.tiny corpus`` draws. A killed run goes on when it is
called again.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glassbox.engine.model.load import load_model
from glassbox.engine.resident import ResidentEngine
from glassbox.pathways.saes.training.recipe import SaeRecipe
from glassbox.pathways.saes.training.train import RECORD_FILE, train_saes
from glassbox.types import TINY, ModelSpec
from recipes.tiny.tokenizer import BOS_ID
from recipes.tiny.world import ASSETS, STREAM_PATH

WORK = Path(__file__).parents[2] / "build" / "saes"
SHIPPED = ASSETS / "saes"
N_DOCUMENTS = 24_000
SLOT_SHARE = 0.25
"""Share of the documents that are slot-machine prompts: they are what pathways are studied on."""
DOCUMENT_SEED = 616
OPENING = "You sit at a slot machine"
RECIPE = SaeRecipe()


def draw_documents(stream: Path, opening: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Some documents of the pre-training corpus, a share of them slot-machine prompts."""
    with np.load(stream) as saved:
        tokens = saved["token_ids"].astype(np.int64)
    starts = np.flatnonzero(tokens == BOS_ID)
    documents = [tuple(each.tolist()) for each in np.split(tokens, starts)[1:-1]]
    is_slot = np.array([each[1 : 1 + len(opening)] == opening for each in documents])
    rng = np.random.default_rng(DOCUMENT_SEED)
    n_slots = int(N_DOCUMENTS * SLOT_SHARE)
    chosen = np.concatenate(
        [
            rng.permutation(np.flatnonzero(is_slot))[:n_slots],
            rng.permutation(np.flatnonzero(~is_slot))[: N_DOCUMENTS - n_slots],
        ]
    )
    return [documents[index] for index in rng.permutation(chosen)]


def main() -> None:
    """Trains one SAE a layer and installs them; prints the figures."""
    engine = ResidentEngine(load_model(ModelSpec(TINY)))
    (opening,) = engine.codec.encode([OPENING], special=False)
    documents = draw_documents(STREAM_PATH, opening)

    def tell(point: dict[str, Any], step: int, n_steps: int) -> None:
        print(f"{step}/{n_steps} {json.dumps(point['loss'])}", flush=True)

    trained = train_saes(engine, documents, WORK, RECIPE, dtype=torch.bfloat16, progress=tell)
    for each in trained.metrics:
        print(
            f"layer {each.layer}: L0 {each.l0:.1f}, explained {each.explained_variance:.3f}, "
            f"dead {each.dead_share:.3f}, recovered {each.recovered:.3f}"
        )
    if SHIPPED.is_dir():
        shutil.rmtree(SHIPPED)
    shutil.copytree(WORK, SHIPPED, ignore=shutil.ignore_patterns("training.safetensors"))
    # The curve is of interest where the SAEs are made, not where they are used.
    record = json.loads((SHIPPED / RECORD_FILE).read_text(encoding="utf-8"))
    record.pop("curve")
    (SHIPPED / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{trained.seconds:.0f} s")


if __name__ == "__main__":
    main()
