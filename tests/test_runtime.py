"""The composition root: what is named is found, wherever it lies."""

from pathlib import Path

import pytest

from glassbox.artifacts import Classifier
from glassbox.engine.requests import Request, Sampling
from glassbox.errors import UnknownName
from glassbox.runtime import SHIPPED_RUN, Runtime


def test_a_run_is_brought_to_life_by_its_bare_name(tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(SHIPPED_RUN, target_is_directory=True)
    runtime = Runtime.load({"paths.runs": tmp_path})
    named = runtime.labeller("mine")
    assert named.model.adapter is not None
    resident = runtime.labeller_on(named.model.engine, "mine")
    named.model.engine.close()
    assert named.digest == resident.digest == Classifier.load(SHIPPED_RUN).digest


def test_a_run_that_is_none_is_told_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(SHIPPED_RUN, target_is_directory=True)
    with pytest.raises(UnknownName, match=r"No finished run 'yours'.*mine"):
        Runtime.load({"paths.runs": tmp_path}).labeller("yours")


@pytest.mark.parametrize("n_bytes", [0, 2**20])
def test_the_memory_for_prompts_is_that_of_texts_too(n_bytes: int) -> None:
    runtime = Runtime.load({"engine.prefix_cache_bytes": n_bytes})
    engine = runtime.open_engine(runtime.model_spec("tiny"))
    try:
        (prompt,) = engine.codec.encode(["The film was a little long. " * 8])
        request = Request(prompt, sampling=Sampling(max_tokens=1, temperature=0))
        (first,), (second,) = engine.generate([request]), engine.generate([request])
    finally:
        engine.close()
    assert first.n_cached == 0
    assert bool(second.n_cached) == bool(n_bytes)
