"""What ``bundle.json`` may say, and what is refused."""

import copy
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.artifacts import Part, digest_json
from glassbox.deploy.bundle import Base, Bundle, Recorded
from glassbox.deploy.bundle.description import is_inside
from glassbox.errors import CorruptArtifact

HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
NAMES = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
# A name is a file's or a folder's.
FILES = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/".join([*parts, "file.json"]))
PARTS = st.dictionaries(NAMES, st.builds(Part, PATHS, HASHES), max_size=3)
VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5)
BASES = st.builds(
    Base,
    kind=st.sampled_from(["embedded", "folder", "hub", "s3"]),
    reference=NAMES,
    revision=st.none() | NAMES,
    digest=HASHES | st.just(""),
    has_weights=st.booleans(),
)
BUNDLES = st.builds(
    Bundle,
    name=NAMES,
    glassbox=NAMES,
    base=BASES,
    adapters=PARTS,
    probes=PARTS,
    classifiers=PARTS,
    verifier=st.none() | st.builds(Part, PATHS, HASHES),
    settings=st.dictionaries(NAMES, VALUES, max_size=3),
    files=st.dictionaries(FILES, st.builds(Recorded, HASHES, st.integers(0, 2**40)), max_size=4),
)


def one() -> Bundle:
    part = Part("adapters/a", "a" * 64)
    files = {"adapters/a/adapter_config.json": Recorded("b" * 64, 3)}
    base = Base("embedded", "tiny", None, "", has_weights=False)
    return Bundle("b", "0.1.0", base, {"a": part}, files=files)


@given(BUNDLES)
def test_what_is_written_is_read_back(bundle: Bundle) -> None:
    again = Bundle.from_json(bundle.to_json(), source="bundle.json")
    assert again == bundle
    assert again.digest == bundle.digest == bundle.to_json()["digest"]
    assert again.n_bytes == sum(each.n_bytes for each in bundle.files.values())


@given(BUNDLES, BUNDLES)
def test_bundles_share_a_digest_only_if_they_are_equal(one: Bundle, other: Bundle) -> None:
    assert (one.digest == other.digest) == (one == other)


@given(st.lists(st.sampled_from(["a", "..", ".", "", "b c", "\\"]), min_size=1, max_size=5))
def test_a_path_is_inside_if_and_only_if_following_it_stays_inside(parts: list[str]) -> None:
    depth, is_plain = 0, True
    for part in parts:
        depth += -1 if part == ".." else 1
        is_plain &= part not in ("", ".", "..") and "\\" not in part
    assert is_inside("/".join(parts)) == (is_plain and depth > 0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda content: content.update(schema_version=2), "this Glassbox reads 1"),
        (lambda content: content.update(extra=1), "unknown field 'extra'"),
        (lambda content: content.pop("base"), "base: Field required"),
        (lambda content: content.update(name="other"), "does not match the digest"),
        (lambda content: content["base"].update(reference="else"), "does not match the digest"),
        (lambda content: content["base"].update(kind="cloud"), "base.kind: Input should be"),
        (lambda content: content.update(name="../up"), "is no name"),
        (lambda content: content["adapters"].update({"x/y": content["adapters"]["a"]}), "no name"),
        (lambda content: content["adapters"]["a"].update(path="/etc"), "no path inside"),
        (lambda content: content["files"].update({"../x": {}}), "incomplete"),
        (
            lambda content: content["files"].update({"../x": {"sha256": "a" * 64, "n_bytes": 1}}),
            "names '../x'",
        ),
        (
            lambda content: content["files"].update({"x": {"sha256": "A" * 64, "n_bytes": 1}}),
            "no hash and size",
        ),
        (
            lambda content: content["files"].update({"x": {"sha256": "a" * 64, "n_bytes": True}}),
            "files.x.n_bytes: Input should be a valid integer",
        ),
    ],
)
def test_a_description_that_is_not_one_is_refused(change, match: str) -> None:
    content = copy.deepcopy(one().to_json())
    change(content)
    with pytest.raises(CorruptArtifact, match=match):
        Bundle.from_json(content, source="bundle.json")


def test_a_forged_digest_does_not_help_a_path_outside() -> None:
    content = one().to_json()
    content["files"]["../../etc/passwd"] = {"sha256": "a" * 64, "n_bytes": 1}
    content.pop("digest")
    content["digest"] = digest_json(content)
    with pytest.raises(CorruptArtifact, match="no path inside a bundle"):
        Bundle.from_json(content, source="bundle.json")


@pytest.mark.parametrize("content", [None, [], "bundle", 3])
def test_another_json_value_is_no_description(content: object) -> None:
    with pytest.raises(CorruptArtifact, match="expected a JSON object"):
        Bundle.from_json(content, source="bundle.json")
