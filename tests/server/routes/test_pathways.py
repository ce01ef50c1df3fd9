"""Finished studies over HTTP: what the reader gives, to those who may read it, without a model."""

import shutil

import anyio
import pytest

from glassbox.pathways.integration.results import read_study
from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.study_shelf import StudyShelf
from tests.pathways.integration.worlds import write_made_up_study
from tests.server.worlds import http_client

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    write_made_up_study(folder, "slots")
    (folder / "unfinished" / "results").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return read_study(folder / "slots")


@pytest.fixture
def get(folder):
    app = create_app(None, Guards(studies=StudyShelf(folder)))

    async def ask(path="", **options):
        async with http_client(app) as client:
            return await client.get(f"/v1/pathways{path}", **options)

    return ask


async def test_finished_studies_are_listed(get):
    (study,) = (await get()).json()["studies"]
    assert study["name"] == "slots"
    assert study["problem"] is None
    assert study["made_s"] > 0
    assert study["n_latents"] > 0


async def test_a_study_is_shown_in_its_figures(get, results):
    answer = (await get("/slots")).json()
    assert answer["n_verified"] == results.summary.n_verified
    assert answer["layers"] == sorted({each.layer for each in results.latents()})
    assert answer["communities"][0]["members"] == list(results.communities[0].members)
    assert [each["nodes"][-1] for each in answer["paths"]] == ["decision"] * len(
        results.decision_paths
    )
    assert answer["conventions"] == dict(results.summary.conventions)


async def test_latents_come_by_layer(get, results):
    answer = (await get("/slots/latents", params={"layer": 3})).json()["latents"]
    assert [each["name"] for each in answer] == [each.name for each in results.latents(layer=3)]
    whole = (await get("/slots/latents")).json()["latents"]
    assert len(whole) == results.summary.n_latents


async def test_pathways_are_filtered_ordered_and_paged(get, results):
    target = results.pathways(limit=1).rows[0].target
    whole = (await get("/slots/pathways", params={"target": target, "limit": 1000})).json()
    assert whole["n_rows"] == len(whole["pathways"])
    assert {each["target"] for each in whole["pathways"]} == {target}
    shares = [each["attribution_share"] for each in whole["pathways"]]
    assert shares == sorted(shares, reverse=True)
    part = (await get("/slots/pathways", params={"target": target, "limit": 1, "offset": 1})).json()
    assert part["pathways"] == whole["pathways"][1:2]
    assert part["n_rows"] == whole["n_rows"]
    verified = (
        await get("/slots/pathways", params={"verified": "true", "order": "effect"})
    ).json()["pathways"]
    effects = [abs(each["effect"]) for each in verified if each["effect"] is not None]
    assert effects == sorted(effects, reverse=True)
    assert all(each["verified"] for each in verified)


async def test_tokens_of_one_latent(get, results):
    latent = results.tokens(limit=1).rows[0].latent
    answer = (await get("/slots/tokens", params={"latent": latent})).json()
    assert answer["n_rows"] == results.tokens(latent=latent).n_rows
    assert {each["latent"] for each in answer["tokens"]} == {latent}


async def test_a_latents_card_holds_texts_tokens_and_both_sides(get, results):
    name = results.pathways(verified=True, limit=1).rows[0].source
    card = (await get(f"/slots/latents/{name}")).json()
    assert card["latent"]["name"] == name
    assert {each["source"] for each in card["downstream"]} == {name}
    for context in card["contexts"]:
        assert len(context["tokens"]) == len(context["activations"])
    known = results.card(name)
    assert (card["histogram"] is None) == (known.histogram is None)
    assert len(card["rates"]) == len(known.rates)


async def test_the_graph_is_its_strongest_part(get, results):
    answer = (await get("/slots/graph", params={"limit": 10})).json()
    assert len(answer["edges"]) == 10
    assert answer["n_edges"] == results.graph().n_edges
    ends = {end for each in answer["edges"] for end in (each["source"], each["target"])}
    assert {each["name"] for each in answer["nodes"]} == ends


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/nothing", 404, "slots"),
        ("/..%2Fslots", 404, ""),
        ("/unfinished", 404, "No finished study"),
        ("/slots/latents/L99-1", 404, "latent of this study"),
        ("/slots/pathways?source=L99-1", 404, "latent of this study"),
        ("/slots/pathways?order=size", 422, "order"),
        ("/slots/pathways?limit=100000", 422, "limit"),
        ("/slots/tokens?offset=-1", 422, "offset"),
    ],
)
async def test_what_is_not_there_is_said(get, path, status, words):
    answer = await get(path)
    assert answer.status_code in (status, 400 if status == 422 else status)
    assert words in answer.text


async def test_the_report_is_sent_whole_and_may_reach_nothing_of_the_servers(get, results):
    results.report.write_text("<!DOCTYPE html><title>slots</title>")
    answer = await get("/slots/report")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.content == results.report.read_bytes()
    assert "sandbox allow-scripts;" in answer.headers["content-security-policy"]
    assert "allow-same-origin" not in answer.headers["content-security-policy"]
    assert answer.headers["content-disposition"] == 'inline; filename="slots.html"'


async def test_a_study_without_its_report_says_how_to_get_it(folder, tmp_path):
    shutil.copytree(folder / "slots", tmp_path / "slots")
    (tmp_path / "slots" / "results" / "integrated" / "report.html").unlink(missing_ok=True)
    async with http_client(create_app(None, Guards(studies=StudyShelf(tmp_path)))) as client:
        answer = await client.get("/v1/pathways/slots/report")
    assert answer.status_code == 404
    assert "glassbox pathways integrate" in answer.text


async def test_an_unchanged_answer_is_not_sent_again(get):
    first = await get("/slots")
    again = await get("/slots", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


async def test_without_a_folder_there_are_no_studies():
    async with http_client(create_app(None, Guards())) as client:
        assert (await client.get("/v1/pathways")).json() == {"studies": []}
        assert (await client.get("/v1/pathways/slots")).status_code == 404


async def test_a_damaged_study_says_so_and_hides_no_other(folder, tmp_path):
    shutil.copytree(folder / "slots", tmp_path / "slots")
    shutil.copytree(folder / "slots", tmp_path / "torn")
    study = tmp_path / "torn" / "results" / "integrated" / "study.json"
    study.write_bytes(study.read_bytes()[:-20])
    app = create_app(None, Guards(studies=StudyShelf(tmp_path)))
    async with http_client(app) as client:
        first, second = (await client.get("/v1/pathways")).json()["studies"]
        assert (first["name"], first["problem"]) == ("slots", None)
        assert second["name"] == "torn"
        assert "damaged" in second["problem"]
        assert (await client.get("/v1/pathways/torn")).status_code == 422
        assert (await client.get("/v1/pathways/slots")).status_code == 200


async def test_results_that_were_made_anew_are_seen(folder, tmp_path):
    shutil.copytree(folder / "slots", tmp_path / "slots")
    shelf = StudyShelf(tmp_path)
    before = shelf.open("slots")
    assert shelf.open("slots") is before
    study = before.integrated / "study.json"
    await anyio.sleep(0.01)
    study.write_bytes(study.read_bytes() + b"\n")
    assert shelf.open("slots") is not before


async def test_only_those_who_may_observe_see_studies(folder, tmp_path):
    from glassbox.server.access.key_ring import KeyRing
    from glassbox.storage.database import open_database
    from glassbox.storage.keys import KeyStore

    store = KeyStore(open_database(f"sqlite:///{tmp_path}/keys.db"))
    secrets = {scope: store.create(scope, [scope])[1] for scope in ("predict", "observe")}
    app = create_app(None, Guards(keys=KeyRing(store), studies=StudyShelf(folder)))
    async with http_client(app) as client:
        paths = ("/v1/pathways", "/v1/pathways/slots", "/v1/pathways/nothing")
        for path in (*paths, "/v1/pathways/slots/report"):
            assert (await client.get(path)).status_code == 401
            headers = {"authorization": f"Bearer {secrets['predict']}"}
            assert (await client.get(path, headers=headers)).status_code == 403
        headers = {"authorization": f"Bearer {secrets['observe']}"}
        assert (await client.get("/v1/pathways/slots", headers=headers)).status_code == 200
