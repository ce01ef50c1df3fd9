"""Undoing what a guest did to the model and around it, again and again while it is lent.

What the model was like is recorded when it is first lent and kept, because a record of everything
costs far more than finding that nothing has changed. Knows the parts; knows nothing of who borrows
them.
"""

from contextlib import AbstractContextManager

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from glassbox.engine.model.attending import OpenOnRequest
from glassbox.engine.model.handed_out import HandedOut
from glassbox.engine.model.lent_modules import ModuleRecord
from glassbox.engine.model.lent_surroundings import SurroundingsRecord
from glassbox.engine.model.lent_tokenizer import TokenizerRecord
from glassbox.engine.model.lent_weights import WeightRecord
from glassbox.engine.model.library_hooks import hang_library_hooks


class Lending:
    """A model and its tokenizer as they are to be whenever nobody has borrowed them.

    Args:
        model: In evaluation mode, without gradients.
        tokenizer: The model's.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model = model
        self._tokens = tokenizer
        self._attending: OpenOnRequest | None = None
        self._weights: WeightRecord | None = None
        self._modules: ModuleRecord | None = None
        self._tokenizer: TokenizerRecord | None = None
        self._surroundings: SurroundingsRecord | None = None
        self._is_own = True
        self._handed_out = HandedOut()

    def lent(self) -> AbstractContextManager[None]:
        """Return a block that lasts for as long as the model is lent."""
        return self._handed_out.noted()

    def begin(self, *, is_adapted: bool = False) -> None:
        """Remember what is to be put back; on the thread that borrows.

        Args:
            is_adapted: Hooks of ours stand on the modules for as long as they are lent.
        """
        if self._attending is None:
            self._attending = OpenOnRequest(self._model)
        if self._weights is None:
            self._weights = WeightRecord(self._model)
        if self._modules is None:
            # A guest who asks for hidden states finds them there, and leaves nothing to be undone.
            hang_library_hooks(self._model)
        if self._modules is None or is_adapted or not self._is_own:
            self._modules = ModuleRecord(self._model, [type(self._tokens)])
        if self._tokenizer is None:
            self._tokenizer = TokenizerRecord(self._tokens)
        self._is_own = not is_adapted
        self.resume()

    def resume(self) -> None:
        """Take what is around the model now for what is to be put back; on the thread that borrows.

        Random state and torch's settings are the whole process's: what others do to them between
        two uses is theirs, and stays.
        """
        if self._surroundings is None or not self._surroundings.holds():
            self._surroundings = SurroundingsRecord()

    def undo(self, *, thoroughly: bool = False) -> tuple[str, ...]:
        """Put everything back and return what was, in words.

        Args:
            thoroughly: Look in every weight for changes that moved no version counter.

        Raises:
            ConflictError: Weights were changed that cannot be put back: the model must not answer
                any more.
        """
        if self._weights is None or self._modules is None or self._tokenizer is None:
            return ()
        if self._attending is not None:
            self._attending.close()
        modules = self._modules.restore()
        weights = self._weights.restore(self._handed_out.since_asked(), thoroughly=thoroughly)
        around = self._surroundings.restore() if self._surroundings is not None else ()
        return (*modules, *weights, *self._tokenizer.restore(), *around)

    def forget(self) -> None:
        """Record everything anew next time: the engine itself has changed the model."""
        self._weights = self._modules = self._tokenizer = None
