"""The texts of a study: its corpus from the logs, and the contexts that targets are looked at in.

Contexts are kept in a file, so that every shard, wherever it is made, reads the same ones. Knows
nothing of gradients or replays.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from glassbox.artifacts import read_object, write_bytes
from glassbox.errors import CorruptArtifact
from glassbox.pathways.corpus.building import build_corpus
from glassbox.pathways.corpus.contexts import Context, make_context
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.latents import LatentId
from glassbox.pathways.layout import data_folders
from glassbox.pathways.orchestration.logged import LoggedResponses
from glassbox.pathways.orchestration.workplace import Workplace

if TYPE_CHECKING:
    from glassbox.pathways.corpus.set_cover import ContextChoice

SCHEMA: Final = 1
"""Version of the layout of ``contexts.json``."""


def study_corpus(place: Workplace, special_ids: Sequence[int]) -> Corpus:
    """Return the distinct texts of the study's response logs, cut to the context and counted.

    Args:
        place: The study.
        special_ids: The tokenizer's special tokens.

    Raises:
        NotEnoughData: The logs hold no text that can be read.
    """
    config = place.config
    _, logs = data_folders(config)
    tokens = config.tokens
    return build_corpus(
        LoggedResponses(logs, tokens.max_responses, tokens.seed),
        place.engine.codec,
        context=min(config.contexts.max_tokens, place.engine.info.context),
        special_ids=special_ids,
    )


def save_contexts(choice: "ContextChoice", path: Path) -> None:
    """Write the chosen contexts whole or not at all."""
    import orjson

    content = {
        "schema_version": SCHEMA,
        **choice.to_json(),
        "contexts": [_to_json(each) for each in choice.contexts],
    }
    write_bytes(path, orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))


def load_contexts(path: Path) -> tuple[Context, ...]:
    """Return the contexts in a file, in its order.

    Raises:
        CorruptArtifact: The file is missing or damaged.
    """
    content = read_object(path, schema=SCHEMA)
    try:
        return tuple(_from_json(each) for each in content["contexts"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptArtifact(path, f"not what 'discover' writes ({error})") from error


def _to_json(context: Context) -> dict[str, Any]:
    return {
        "document_id": context.document_id,
        "token_ids": list(context.token_ids),
        "targets": [[each.latent.name, each.position] for each in context.targets],
        "excluded": list(context.excluded),
        "n_prompt": context.n_prompt,
    }


def _from_json(content: Mapping[str, Any]) -> Context:
    return make_context(
        content["document_id"],
        content["token_ids"],
        [(LatentId.parse(name), position) for name, position in content["targets"]],
        excluded=content["excluded"],
        n_prompt=content["n_prompt"],
    )
