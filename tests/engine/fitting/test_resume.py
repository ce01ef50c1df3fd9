"""A fit that is stopped in any way goes on and ends with the same bits."""

import contextlib
import dataclasses
import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from glassbox.engine.fitting.fit import fit
from glassbox.engine.fitting.state import read_state
from glassbox.engine.lora.bank import AdapterBank
from glassbox.engine.lora.weights import BaseModel
from glassbox.errors import CorruptArtifact, NoDiskSpace
from tests.engine.fit_world import RECIPE, plain_forward, task, tiny_base, weights_of

STATE = "fit-state.safetensors"

CHILD = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.engine.fit_world import RECIPE, plain_forward, task, tiny_base
from glassbox.engine.fitting.fit import fit
base = tiny_base()
def progress(point, done, total):
    print(done, flush=True)
    time.sleep(0.05)
forward = plain_forward(base.model)
fit(base, forward, task(), Path(sys.argv[1]), RECIPE, progress=progress)
"""


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    torch.set_num_threads(1)
    return run(tmp_path_factory.mktemp("whole"))


def run(folder: Path, recipe=RECIPE, work=None, base: BaseModel | None = None, **options):
    base = base or tiny_base()
    forward = plain_forward(base.model)
    return fit(base, forward, work or task(), folder, recipe, **options)


def stop_at(step: int):
    def progress(point, done, total):
        if done == step:
            raise KeyboardInterrupt

    return progress


def test_a_killed_fit_goes_on_and_ends_with_the_same_bits(tmp_path, whole):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        steps = iter(child.stdout)
        while int(next(steps)) < 10:
            pass
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    state, _ = read_state(tmp_path / STATE)
    assert 8 <= state.step < 24
    steps = []
    fitted = run(tmp_path, progress=lambda point, done, total: steps.append(done))
    assert steps[0] == state.step + 1
    assert weights_of(tmp_path) == weights_of(whole.folder)
    assert fitted.digest == whole.digest
    assert losses(fitted) == losses(whole)
    assert not (tmp_path / STATE).exists()


def losses(fitted) -> list[tuple[float, float]]:
    return [(point.train_loss, point.validation_loss) for point in fitted.curve]


@pytest.mark.parametrize("stop", [1, 4, 7, 8, 23, 24])
def test_ctrl_c_at_any_step_leaves_a_resumable_state(tmp_path, whole, stop):
    base = tiny_base()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, base=base, progress=stop_at(stop))
    assert (tmp_path / STATE).exists() == (stop >= 4)
    fitted = run(tmp_path, base=base)
    assert weights_of(tmp_path) == weights_of(whole.folder)
    assert losses(fitted) == losses(whole)
    assert fitted.curve[-1].seconds > fitted.curve[0].seconds


def test_early_stopping_counts_across_an_interruption(tmp_path):
    recipe = dataclasses.replace(RECIPE, learning_rate=0.3, patience=2, epochs=6)
    expected = run(tmp_path / "whole", recipe)
    last = expected.curve[-1].step
    assert last < 48
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", recipe, progress=stop_at(last))
    assert losses(run(tmp_path / "cut", recipe)) == losses(expected)
    assert weights_of(tmp_path / "cut") == weights_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": dataclasses.replace(RECIPE, learning_rate=1e-2)}, "another recipe;"),
        ({"work": task(n_train=56)}, "another training examples;"),
        ({"work": task(n_validation=16)}, "another validation examples;"),
        ({"base": "other"}, "another base;"),
    ],
)
def test_a_changed_input_starts_afresh_and_says_so(tmp_path, caplog, change, named):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", progress=stop_at(9))

    def base():
        return {"base": tiny_base(digest="f" * 64)} if "base" in change else {}

    with caplog.at_level(logging.WARNING):
        run(tmp_path / "a", **(change | base()))
    assert named in caplog.text
    run(tmp_path / "b", **(change | base()))
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")


def test_a_finished_fit_is_returned_without_work(tmp_path, whole):
    def forward(prompts):
        raise AssertionError("nothing is left to compute")

    assert fit(tiny_base(), forward, task(), whole.folder, RECIPE) == whole


def test_a_finished_fit_of_other_inputs_is_replaced_and_that_is_said(tmp_path, caplog):
    first = run(tmp_path)
    with caplog.at_level(logging.WARNING):
        second = run(tmp_path, dataclasses.replace(RECIPE, seed=3))
    assert "another fit's adapter, which will be replaced" in caplog.text
    assert first.digest != second.digest
    assert AdapterBank(tiny_base()).register(tmp_path).digest == second.digest


def test_a_damaged_state_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=stop_at(9))
    path = tmp_path / STATE
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CorruptArtifact, match=r"state of a fit is damaged.*Delete it"):
        run(tmp_path)


@pytest.mark.parametrize("fails_at", [1, 2, 6, 7, 8, 9, 11])
def test_a_full_disk_leaves_nothing_half_written_and_the_last_state(
    tmp_path, whole, monkeypatch, fails_at
):
    synced, real = [], os.fsync

    def full(handle):
        synced.append(handle)
        if len(synced) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NoDiskSpace, match="No space left to write"):
            run(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    if fails_at > 1:
        state, _ = read_state(tmp_path / STATE)
        assert state.step == 4 * min(fails_at - 1, 6)
        with contextlib.suppress(CorruptArtifact):
            AdapterBank(tiny_base()).register(tmp_path)
            pytest.fail("an unfinished folder must not load")
    assert run(tmp_path).digest == whole.digest
