"""Which runs of an agent are kept: those that ended last, whenever they were begun."""

import pytest

from glassbox.errors import UnknownName
from glassbox.techniques.agents import agent_runs
from glassbox.techniques.agents.agent_runs import AgentRuns
from glassbox.techniques.client.blocking import InterpClient
from tests.techniques.small_backend import SmallBackend

PATIENCE_S = 60.0


def long_text(model, tokenizer, path=""):
    import time
    from pathlib import Path

    while path and not Path(path).exists():
        time.sleep(0.01)
    return "x" * 2000


def test_the_run_that_ended_last_is_kept_however_long_it_took(tmp_path, monkeypatch):
    monkeypatch.setattr(agent_runs, "MOST_BYTES", 3000)
    with InterpClient("small", backend=SmallBackend(), quiet=True) as client:
        runs = AgentRuns(client)
        slow = runs.begin(long_text, "slow", {"path": str(tmp_path / "go")})
        quick = runs.begin(long_text, "quick", {})
        assert runs.wait(quick, PATIENCE_S).status == "succeeded"
        (tmp_path / "go").touch()
        assert runs.wait(slow, PATIENCE_S).status == "succeeded"
        assert runs.value(slow) == "x" * 2000
        with pytest.raises(UnknownName, match="Old runs are forgotten"):
            runs.value(quick)
