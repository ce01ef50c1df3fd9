"""Where hidden states are read: names of places, and the library's numbers for them; no torch here.

The only file that converts between Hugging Face's ``hidden_states`` index (0 is the embeddings,
``n_layers`` the output of the final norm) and a ``HookPoint``. Knows depths; knows no model.
"""

from glassbox.errors import InvalidHookPoint
from glassbox.types import HookPoint


def point_of_hidden_state(index: int, n_layers: int) -> HookPoint:
    """Return the place that an entry of the library's ``hidden_states`` shows.

    Entry 0 is what enters the first block, entry i what leaves block i - 1, and the last one is
    what leaves the final norm.

    Args:
        index: From 0 to ``n_layers``; negative counts from the end.
        n_layers: Blocks of the model.

    Raises:
        InvalidHookPoint: No such entry.
    """
    entry = index + n_layers + 1 if index < 0 else index
    if not 0 <= entry <= n_layers:
        raise InvalidHookPoint(
            f"There is no hidden state {index}: this model has 0 (embeddings) to {n_layers} (after "
            f"the final norm), or -1 to {-n_layers - 1} from the end."
        )
    if entry == n_layers:
        return HookPoint(n_layers - 1, "final_norm")
    return HookPoint(0, "resid_pre") if entry == 0 else HookPoint(entry - 1, "resid_post")


def hidden_state_of_point(point: HookPoint, n_layers: int) -> int | None:
    """Return the entry of ``hidden_states`` that shows a place; None where none does.

    Args:
        point: Its layer counted from 0.
        n_layers: Blocks of the model.
    """
    if point.site == "final_norm":
        return n_layers
    if point.site == "resid_pre":
        return point.layer
    # What leaves the last block is shown only after the final norm.
    return point.layer + 1 if point.site == "resid_post" and point.layer < n_layers - 1 else None


def whole_point(point: HookPoint, n_layers: int, *, parallel: bool = False) -> HookPoint:
    """Return a place with its layer counted from 0.

    Args:
        point: As asked for.
        n_layers: Blocks of the model.
        parallel: Whether attention and feed-forward part read the same input.

    Raises:
        InvalidHookPoint: A layer or site that the model does not have.
    """
    layer = point.layer + n_layers if point.layer < 0 else point.layer
    if not 0 <= layer < n_layers:
        raise InvalidHookPoint(
            f"There is no layer {point.layer}: this model has layers 0 to {n_layers - 1}, or -1 to "
            f"{-n_layers} from the end."
        )
    if point.site == "final_norm" and layer != n_layers - 1:
        raise InvalidHookPoint(
            f"final_norm exists at the last layer only, {n_layers - 1} of this model; layer "
            f"{point.layer} was asked for."
        )
    if point.site == "resid_mid" and parallel:
        raise InvalidHookPoint(
            "This model's blocks add attention and feed-forward part at once: there is no "
            "resid_mid. Use resid_pre, resid_post, attn_out or mlp_out."
        )
    return HookPoint(layer, point.site)
