"""Methods about studies of pathways of ``AsyncClient``. Knows no transport."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import TypeVar, Unpack

from glassbox.client import pathway_calls
from glassbox.client.calls import Call
from glassbox.client.pages import RowWalk
from glassbox.client.pathway_calls import PathwayOptions, TokenOptions
from glassbox.wire.latents import (
    AssociationAnswered,
    LatentAnswered,
    LatentCardAnswered,
    PathwayAnswered,
    PathwaysAnswered,
    TokensAnswered,
)
from glassbox.wire.pathways import (
    GraphAnswered,
    StudyAnswered,
    StudyBrief,
)

T = TypeVar("T")


class AsyncPathwayMethods(ABC):
    """What a client can read of finished studies."""

    @abstractmethod
    async def _send(self, call: Call[T]) -> T:
        """Return the answer to one request."""

    async def studies(self) -> list[StudyBrief]:
        """Return every finished study that the server has, by name."""
        return await self._send(pathway_calls.studies())

    async def study(self, study: str) -> StudyAnswered:
        """Return a study in its figures: counts, verification, communities, paths."""
        return await self._send(pathway_calls.study(study))

    async def study_latents(self, study: str, *, layer: int | None = None) -> list[LatentAnswered]:
        """Return a study's latents, in order of layer and index.

        Args:
            study: Its name, as ``studies`` gives it.
            layer: Only those of this block, counted from 0.
        """
        return await self._send(pathway_calls.latents(study, layer))

    async def study_latent(self, study: str, latent: str, *, limit: int = 50) -> LatentCardAnswered:
        """Return all that is known of one latent.

        Args:
            study: The study's name.
            latent: As ``L13-2044``.
            limit: Most pathways on either side, and most tokens.
        """
        return await self._send(pathway_calls.latent(study, latent, limit))

    async def study_pathways(
        self, study: str, **options: Unpack[PathwayOptions]
    ) -> PathwaysAnswered:
        """Return a study's pathways, strongest first; see ``PathwayOptions``."""
        return await self._send(pathway_calls.pathways(study, options))

    async def iter_study_pathways(
        self, study: str, **options: Unpack[PathwayOptions]
    ) -> AsyncIterator[PathwayAnswered]:
        """Yield every pathway of a study, strongest first, a page at a time.

        Args:
            study: The study's name.
            options: As for ``study_pathways``; ``limit`` is for each page, 1,000.
        """
        walk = RowWalk(options)
        while not walk.is_done:
            page = await self.study_pathways(study, **walk.options)
            walk.take(len(page.pathways), page.n_rows)
            for each in page.pathways:
                yield each

    async def study_tokens(self, study: str, **options: Unpack[TokenOptions]) -> TokensAnswered:
        """Return which tokens go with which latents, the surest first; see ``TokenOptions``."""
        return await self._send(pathway_calls.tokens(study, options))

    async def iter_study_tokens(
        self, study: str, **options: Unpack[TokenOptions]
    ) -> AsyncIterator[AssociationAnswered]:
        """Yield every token association of a study, the surest first, a page at a time.

        Args:
            study: The study's name.
            options: As for ``study_tokens``; ``limit`` is for each page, 1,000.
        """
        walk = RowWalk(options)
        while not walk.is_done:
            page = await self.study_tokens(study, **walk.options)
            walk.take(len(page.tokens), page.n_rows)
            for each in page.tokens:
                yield each

    async def study_graph(self, study: str, *, limit: int = 200) -> GraphAnswered:
        """Return the strongest part of a study's graph of tokens, latents and the decision.

        Args:
            study: The study's name.
            limit: Most edges.
        """
        return await self._send(pathway_calls.graph(study, limit))
