"""The SAEs of many layers: whole ones a layer at a time, or the rows of chosen latents.

Knows which layer is where; holds no weights itself, a stream of whole dictionaries never more than
two of them, and one of halves never more than two halves.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float

from glassbox.artifacts import digest_json
from glassbox.errors import InvalidData, UnknownName, UnsupportedModel
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.readers.config_file import hook_layer
from glassbox.pathways.saes.readers.opening import find_saes, open_sae
from glassbox.pathways.saes.readers.reader import SaeReader
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.saes.sae import Encoder, Sae

_AHEAD = "sae-stream"
"""Of the thread that reads ahead."""


class Halves:
    """One layer's dictionary of a stream, its halves held no longer than they are needed.

    Keep no reference to a half that was dropped: its memory is the next one's.
    """

    def __init__(
        self,
        layer: int,
        d_sae: int,
        encoder: "Future[Encoder]",
        decoder: "Future[Float[torch.Tensor, 'd_sae d_out']]",
        read_ahead: Callable[[], None],
    ) -> None:
        self.layer, self.d_sae = layer, d_sae
        self._encoder: Future[Encoder] | None = encoder
        self._decoder: Future[Float[torch.Tensor, "d_sae d_out"]] | None = decoder
        self._read_ahead = read_ahead

    def encoder(self) -> Encoder:
        """Return what the latents read, waiting until it is there; raises like ``reader.load``."""
        assert self._encoder is not None
        return self._encoder.result()

    def decoder(self) -> Float[torch.Tensor, "d_sae d_out"]:
        """Return what the latents write, as ``encoder`` does."""
        assert self._decoder is not None
        return self._decoder.result()

    def drop_encoder(self) -> None:
        """Let what the latents read go, and have the next half read; twice is as good as once."""
        if self._encoder is not None:
            self._encoder = None
            self._read_ahead()

    def drop_decoder(self) -> None:
        """Let what the latents write go, as ``drop_encoder`` does."""
        if self._decoder is not None:
            self._decoder = None
            self._read_ahead()


class Dictionaries:
    """One residual-stream SAE for each of some layers."""

    def __init__(self, readers: Iterable[SaeReader]) -> None:
        """Take one reader of each layer.

        Raises:
            InvalidData: There are none, two of one layer, or their widths differ.
            UnsupportedModel: One is a transcoder, reads no block's output, or z is not linear in
                the residual stream.
            InvalidValue: One does not know its layer.
        """
        found: dict[int, SaeReader] = {}
        for reader in readers:
            _require_residual(reader)
            twin = found.setdefault(reader.layer, reader)
            if twin is not reader:
                raise InvalidData(
                    f"two SAEs for layer {reader.layer}: {twin.facts.path} and "
                    f"{reader.facts.path}; name one of them"
                )
        if not found:
            raise InvalidData("there is no SAE; give a folder that holds one a layer")
        self._readers = dict(sorted(found.items()))
        widths = {layer: reader.d_in for layer, reader in self._readers.items()}
        if len(set(widths.values())) > 1:
            raise InvalidData(f"the SAEs are of different widths: {widths} by layer")

    @property
    def layers(self) -> tuple[int, ...]:
        """Blocks, 0-based and ascending, that have an SAE."""
        return tuple(self._readers)

    @property
    def d_model(self) -> int:
        """Width of the residual stream that they read."""
        return next(iter(self._readers.values())).d_in

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all files, their layers and how they are read."""
        return digest_json(
            {
                str(layer): [reader.source.digest, reader.source.convention]
                for layer, reader in self._readers.items()
            }
        )

    def reader(self, layer: int) -> SaeReader:
        """Return the reader of one layer.

        Raises:
            UnknownName: No SAE is there for it.
        """
        if layer not in self._readers:
            raise UnknownName("SAE for layer", str(layer), [str(each) for each in self.layers])
        return self._readers[layer]

    def require_fits(self, *, d_model: int, n_layers: int) -> None:
        """Return if they can be for a model.

        Raises:
            InvalidData: They are of another width, or stand on layers that it does not have.
        """
        if self.d_model != d_model:
            raise InvalidData(
                f"the SAEs read {self.d_model} numbers a token and the model's residual stream has "
                f"{d_model}; they were made for another model"
            )
        beyond = [layer for layer in self.layers if layer >= n_layers]
        if beyond:
            raise InvalidData(
                f"there are SAEs for layers {beyond} and the model has {n_layers} "
                f"(0 to {n_layers - 1}); they were made for another model"
            )

    def load(
        self,
        layer: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Sae:
        """Return the whole dictionary of one layer; raises like ``reader`` and its ``load``."""
        return self.reader(layer).load(device, dtype)

    def rows(self, latents: Iterable[LatentId]) -> dict[int, LatentRows]:
        """Return the rows of some latents by layer, each once, ascending by index.

        Raises:
            UnknownName: No SAE is there for a latent's layer.
            InvalidValue: A latent's index is not in its dictionary.
        """
        wanted: dict[int, set[int]] = {}
        for latent in latents:
            wanted.setdefault(latent.layer, set()).add(latent.index)
        return {
            layer: self.reader(layer).read_rows(torch.tensor(sorted(wanted[layer])))
            for layer in sorted(wanted)
        }

    def stream(
        self,
        layers: Sequence[int] | None = None,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Iterator[Sae]:
        """Yield whole dictionaries one after another; the next is read while one is used.

        Keep no reference to one that came before: two are in memory as long as nobody does.

        Args:
            layers: Which, in this order; all, ascending, if none.
            device: Where to.
            dtype: Number format of the matrices.
        """
        order = list(self.layers if layers is None else layers)
        readers = [self.reader(layer) for layer in order]
        with ThreadPoolExecutor(1, thread_name_prefix=_AHEAD) as ahead:
            coming = ahead.submit(readers[0].load, device, dtype) if readers else None
            for reader in [*readers[1:], None]:
                if coming is None:
                    return
                ready = coming.result()
                coming = ahead.submit(reader.load, device, dtype) if reader else None
                yield ready
                del ready

    def stream_halves(
        self,
        layers: Sequence[int],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Iterator[Halves]:
        """Yield dictionaries one after another by halves; the next are read while one is used.

        Two halves are in memory at most, together one layer: another is begun to be read when one
        is dropped, or the layer is left.

        Args:
            layers: Which, in this order.
            device: Where to.
            dtype: Number format of the matrices.
        """
        readers = [self.reader(layer) for layer in layers]
        waiting = iter(
            [half for each in readers for half in (each.load_encoder, each.load_decoder)]
        )
        coming: deque[Future[Any]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix=_AHEAD) as ahead:

            def read_ahead() -> None:
                for load in waiting:
                    coming.append(ahead.submit(load, device, dtype))
                    return

            read_ahead()
            read_ahead()
            for reader in readers:
                halves = Halves(
                    reader.layer, reader.d_sae, coming.popleft(), coming.popleft(), read_ahead
                )
                yield halves
                halves.drop_encoder()
                halves.drop_decoder()


def open_dictionaries(
    saes: Path | str | Mapping[int, Path | str], *, convention: str = "openmoss"
) -> Dictionaries:
    """Return the SAEs in a folder, or at a path for each layer.

    Args:
        saes: A folder that holds one SAE a layer, at any depth up to four; or paths by layer.
        convention: How Llama Scope's files are read.

    Raises:
        InvalidData: There is none, or two for one layer, or they do not fit together.
        InvalidValue: A file does not say its layer, or contradicts the mapping.
        UnsupportedModel: One does not read and write a block's output, or not linearly.
    """
    if isinstance(saes, Mapping):
        return Dictionaries(
            open_sae(path, layer=layer, convention=convention) for layer, path in saes.items()
        )
    readers = [open_sae(path, convention=convention) for path in find_saes(Path(saes))]
    if not readers:
        raise InvalidData("no SAE of a known format is here", source=str(saes))
    return Dictionaries(readers)


def _require_residual(reader: SaeReader) -> None:
    """Return if z is a linear reading of a block's output.

    Raises:
        UnsupportedModel: It reads or writes elsewhere, or normalises every token first.
    """
    facts = reader.facts
    if facts.hook_out or reader.d_out != reader.d_in:
        raise UnsupportedModel(
            f"{facts.path}: a transcoder from {facts.hook or 'one place'} to "
            f"{facts.hook_out or 'another'}; pathways need SAEs of the residual stream."
        )
    if facts.hook and hook_layer(facts.hook) is None:
        raise UnsupportedModel(
            f"{facts.path}: reads {facts.hook}; pathways need SAEs of a block's output "
            "(hook_resid_post)."
        )
    if not reader.is_linear:
        raise UnsupportedModel(
            f"{facts.path}: normalises every token before its encoder, so that its latents are not "
            "linear in the residual stream, which pathways need."
        )
