"""One exit code for each error class, and each code explained."""

import pytest

from glassbox.cli.terminal.exit_codes import MEANINGS, TABLE, ExitCode, exit_code
from glassbox.errors import (
    BY_CODE,
    AdapterMismatch,
    CorruptArtifact,
    DependencyMissing,
    GlassboxError,
    NoDiskSpace,
    UnknownName,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownName, 2),
        (AdapterMismatch, 3),
        (NoDiskSpace, 4),
        (CorruptArtifact, 5),
        (DependencyMissing, 6),
        (GlassboxError, 1),
    ],
)
def test_a_class_takes_the_code_of_its_family(error, code):
    assert exit_code(error) == code


def test_every_error_but_the_root_has_its_own_code():
    for error in BY_CODE.values():
        if error is not GlassboxError:
            assert exit_code(error) is not ExitCode.UNEXPECTED, error


def test_families_do_not_overlap():
    for place, (parent, _) in enumerate(TABLE):
        assert not any(issubclass(other, parent) for other, _ in TABLE[place + 1 :])


def test_every_code_is_explained():
    assert set(MEANINGS) == set(ExitCode)
