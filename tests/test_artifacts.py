import errno
import fcntl
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.artifacts import (
    Classifier,
    Part,
    alone_in,
    atomic_file,
    canonical_json,
    digest_files,
    digest_json,
    digest_texts,
    read_json,
    read_object,
    sweep_unfinished,
    write_json,
)
from glassbox.errors import ConflictError, CorruptArtifact, NoDiskSpace

MANIFEST = Classifier(
    base=Part("tiny", "ab" * 32),
    labels={"classes": ["negative", "positive"]},
    prompt_digest="cd" * 32,
    adapter=Part("adapter", "ef" * 32),
    calibrator={"kind": "temperature", "temperature": 1.5},
    label_bias=(0.1, -0.1),
    threshold={"value": 0.9},
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4))
def test_the_order_of_keys_does_not_change_a_digest(value):
    backwards = dict(reversed(list(value.items())))
    assert digest_json(value) == digest_json(backwards)
    assert canonical_json(value) == canonical_json(backwards)


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_texts_have_equal_digests_only_if_equal(one, two):
    assert (digest_texts(one) == digest_texts(two)) == (one == two)


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    MANIFEST.save(tmp_path)
    assert Classifier.load(tmp_path) == MANIFEST


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": {"value": 0.8}},
        {"calibrator": None},
        {"label_bias": None},
        {"adapter": Part("adapter", "00" * 32)},
        {"overlong": "skip"},
    ],
)
def test_whatever_changes_the_answer_changes_the_digest(change):
    assert replace(MANIFEST, **change).digest != MANIFEST.digest


def test_where_a_part_stands_does_not_change_the_digest():
    assert (
        replace(MANIFEST, base=Part("/elsewhere", MANIFEST.base.digest)).digest == MANIFEST.digest
    )


def test_a_manifest_edited_by_hand_is_refused(tmp_path):
    path = MANIFEST.save(tmp_path)
    path.write_text(path.read_text().replace("0.9", "0.1"))
    with pytest.raises(CorruptArtifact, match="does not match the digest"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object"),
        ('{"schema_version": 99}', "schema_version is 99"),
        ('{"schema_version": 1}', "incomplete"),
    ],
)
def test_damaged_manifests_are_refused_with_a_reason(tmp_path, content, reason):
    (tmp_path / "classifier.json").write_text(content)
    with pytest.raises(CorruptArtifact, match=reason):
        Classifier.load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CorruptArtifact, match=r"nothing.json: the file is missing"):
        read_json(tmp_path / "nothing.json")


def test_an_error_while_writing_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"schema_version": 1, "old": True})
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:
        file.write(bytes([1 // 0]))
    assert read_object(path, schema=1)["old"] is True
    assert [each.name for each in tmp_path.iterdir()] == ["value.json"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_a_file_is_what_the_process_says(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {})
        write_json(tmp_path / "a.json", {"again": True})
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == mode


def test_a_full_disk_is_said_so(tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoDiskSpace, match="run the same command again"):
        write_json(tmp_path / "value.json", {})
    assert list(tmp_path.iterdir()) == []


def test_file_digests_depend_on_names_and_contents(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    two.write_text("b")
    before = digest_files([one, two])
    assert before == digest_files([two, one])
    two.write_text("c")
    assert digest_files([one, two]) != before


def test_what_a_killed_writer_left_is_swept_and_nothing_else(tmp_path):
    kept = [tmp_path / "a" / "one.safetensors", tmp_path / ".lock", tmp_path / "a" / ".gitignore"]
    for each in kept:
        write_json(each, "whole")
    left = atomic_file(tmp_path / "a" / "one.safetensors")
    left.__enter__().write(b"half")
    assert sweep_unfinished(tmp_path) == 1
    assert sorted(tmp_path.rglob("*.*")) == sorted(kept)
    assert sweep_unfinished(tmp_path) == 0


def test_a_folder_is_one_process_at_a_time(tmp_path):
    with (
        alone_in(tmp_path / "run", "take another"),
        pytest.raises(ConflictError, match=r"works in .*run\. Wait for it, or take another\."),
        alone_in(tmp_path / "run", "take another"),
    ):
        pass
    with alone_in(tmp_path / "run", "take another"):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_as_such(tmp_path, monkeypatch, number):
    def flock(_file, _operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(
            ConflictError, match=rf"run lies on .* cannot lock files .*{os.strerror(number)}"
        ),
        alone_in(tmp_path / "run", "take another"),
    ):
        pass
