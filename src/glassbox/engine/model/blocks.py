"""The blocks of a model: found by how many there are, whatever an architecture calls them."""

from torch import nn
from transformers import PreTrainedModel


def blocks_of(model: PreTrainedModel) -> nn.ModuleList | None:
    """Return the list of modules that is as long as the model is deep; None without one."""
    depth = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = (module for module in model.modules() if isinstance(module, nn.ModuleList))
    return next((each for each in lists if depth and len(each) == depth), None)
