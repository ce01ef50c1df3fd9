"""What is put into the object store: the same content, the same address, and nothing foreign."""

import tarfile
from pathlib import Path

import pytest

from glassbox.deploy.sagemaker import deployment
from glassbox.deploy.sagemaker.parts import PackedAdapter, Store, pack_adapter
from glassbox.errors import AdapterMismatch, CorruptArtifact, InvalidValue, UnknownName
from tests.deploy.sagemaker.world import BASE, served, settings, write_adapter, write_bundle


def packed(folder: Path, name: str, *, seed: int = 0) -> PackedAdapter:
    bundle = write_bundle(folder / "for-packing")
    adapter = write_adapter(folder / f"{name}-{seed}", seed=seed)
    return pack_adapter(name, adapter, bundle, folder)


def test_an_adapter_becomes_one_archive_of_the_same_bytes(tmp_path):
    one = packed(tmp_path, "support")
    first = one.path.read_bytes()
    one.path.unlink()
    assert packed(tmp_path, "support").path.read_bytes() == first
    with tarfile.open(one.path) as archive:
        assert archive.getnames() == [
            "adapter_config.json",
            "adapter_model.safetensors",
            "glassbox.json",
        ]


def test_another_adapter_of_the_same_name_has_another_address(tmp_path):
    store = Store(settings())
    one, other = packed(tmp_path, "support"), packed(tmp_path, "support", seed=1)
    assert store.adapter(one) != store.adapter(other)
    assert store.adapter(one).startswith("s3://models/deploy/adapters/shop/support-")


def test_an_adapter_for_another_base_is_refused(tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    adapter = write_adapter(tmp_path / "adapter", base_digest="c" * 64)
    with pytest.raises(AdapterMismatch, match=r"cccccccccccc.*bbbbbbbbbbbb.*Tune again"):
        pack_adapter("support", adapter, bundle, tmp_path)


def test_an_adapter_that_does_not_say_its_base_is_taken_with_a_note(tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    adapter = write_adapter(tmp_path / "adapter", base_digest="")
    assert "nothing says which base" in pack_adapter("support", adapter, bundle, tmp_path).note


def test_a_damaged_adapter_is_refused(tmp_path):
    adapter = write_adapter(tmp_path / "adapter")
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CorruptArtifact, match=r"glassbox\.json says"):
        pack_adapter("support", adapter, write_bundle(tmp_path / "bundle"), tmp_path)


def test_the_description_is_put_last(tmp_path):
    """Whoever finds it finds all files."""
    put = Store(settings()).put_bundle(served(tmp_path / "bundle"))
    assert [Path(each.url).name for each in put.uploads] == ["a.txt", "b.txt", "bundle.json"]
    assert put.n_bytes == sum(each.source.stat().st_size for each in put.uploads)
    assert {each.tags["glassbox:deployment"] for each in put.uploads} == {"shop"}


@pytest.mark.parametrize("given", ["s3://models", "s3://models/", "s3://models//a/b/"])
def test_addresses_are_spelt_in_one_way(given):
    prefix = Store(settings(artifacts=given)).bundles
    assert prefix == "s3://models/" + ("a/b/" if "a/b" in given else "") + "bundles/shop/"


@pytest.mark.parametrize("given", ["", "models/x", "https://models", "s3:///x"])
def test_what_is_no_object_store_is_refused(given):
    with pytest.raises(InvalidValue, match=r"s3://bucket/prefix.*--artifacts"):
        Store(settings(artifacts=given))


def test_a_damaged_bundle_is_refused_before_aws_is_asked(tmp_path):
    write_bundle(tmp_path / "bundle")
    (tmp_path / "bundle/notes/a.txt").write_bytes(b"fIrst")
    with pytest.raises(CorruptArtifact, match=r"notes/a\.txt"):
        deployment.gather(settings(), deployment.Ingredients(tmp_path / "bundle"), tmp_path)


def test_a_bundle_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UnknownName, match="bundle make"):
        deployment.gather(settings(), deployment.Ingredients(tmp_path / "none"), tmp_path)


def test_an_archive_is_as_good_as_a_folder(tmp_path, monkeypatch):
    from glassbox.deploy.bundle import write_archive

    monkeypatch.setenv("GLASSBOX_PATHS__BUNDLES", str(tmp_path / "cache"))
    bundle = write_bundle(tmp_path / "bundle")
    members = {each: tmp_path / "bundle" / each for each in (*bundle.files, "bundle.json")}
    write_archive(tmp_path / "bundle.tar.gz", members, first="bundle.json")
    for name in ("bundle", "bundle.tar.gz"):
        parts = deployment.gather(settings(), deployment.Ingredients(tmp_path / name), tmp_path)
        assert parts.served.bundle == bundle
    assert bundle.base.digest == BASE
