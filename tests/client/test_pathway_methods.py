"""Both clients reach every route about studies of pathways, and read what it answers."""

import asyncio

import httpx
import pytest

from glassbox.client import AsyncClient, Client
from glassbox.errors import UnknownName, UsageError
from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.study_shelf import StudyShelf
from tests.client.test_client import InThisProcess
from tests.pathways.integration.worlds import write_made_up_study


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    write_made_up_study(folder, "slots")
    return create_app(None, Guards(studies=StudyShelf(folder)))


def test_a_study_is_read_from_its_list_to_one_latent(app):
    with Client("http://test", transport=InThisProcess(app)) as client:
        (brief,) = client.studies()
        study = client.study(brief.name)
        assert study.n_verified == brief.n_verified
        latents = client.study_latents(brief.name)
        assert len(latents) == study.n_latents
        layer = study.layers[-1]
        assert {each.layer for each in client.study_latents(brief.name, layer=layer)} == {layer}
        page = client.study_pathways(brief.name, verified=True, order="mediated", limit=3)
        assert len(page.pathways) == 3
        assert all(each.verified for each in page.pathways)
        first = page.pathways[0]
        ends = client.study_pathways(brief.name, source=first.source, target=first.target)
        assert ends.n_rows == 1
        card = client.study_latent(brief.name, first.target, limit=2)
        assert card.latent.name == first.target
        assert len(card.upstream) <= 2
        tokens = client.study_tokens(brief.name, limit=5)
        assert len(tokens.tokens) == 5
        assert len(client.study_graph(brief.name, limit=7).edges) == 7
        with pytest.raises(UnknownName, match="L99-1"):
            client.study_latent(brief.name, "L99-1")
        with pytest.raises(UnknownName, match="finished study"):
            client.study("a b?c")
        with pytest.raises(UsageError):
            client.study_pathways(brief.name, limit=-1)


def test_the_other_client_does_the_same(app):
    async def ask():
        transport = httpx.ASGITransport(app)
        async with AsyncClient("http://test", transport=transport) as client:
            (brief,) = await client.studies()
            name = brief.name
            latent = (await client.study_latents(name))[0].name
            return (
                (await client.study(name)).n_latents,
                (await client.study_latent(name, latent)).latent.name == latent,
                (await client.study_pathways(name)).n_rows > 0,
                (await client.study_tokens(name)).n_rows > 0,
                len((await client.study_graph(name)).nodes) > 0,
            )

    assert all(asyncio.run(ask()))
