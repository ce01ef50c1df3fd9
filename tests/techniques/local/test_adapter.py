"""An adapter named by the client is part of the model that its worker lends."""

import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from glassbox import InterpClient
from glassbox.engine.lora.files import adapter_digest
from glassbox.runtime import SHIPPED_RUN
from glassbox.techniques.local.backend import running

ADAPTER = SHIPPED_RUN / "adapter"
MODEL = SHIPPED_RUN.parent / "model"
TEXT = "Text: The soup was superb.\nLabel:"


@pytest.fixture
def _own_workers(monkeypatch):
    # A socket's path has about 100 characters, and a test's folder may have more by itself.
    with tempfile.TemporaryDirectory(prefix="gb") as folder:
        monkeypatch.setenv("GLASSBOX_PATHS__WORKERS", folder)
        yield
        for state in running(Path(folder)):
            with suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGTERM)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.usefixtures("_own_workers")
def test_a_technique_meets_the_tuned_model():
    def last_logits(model, tokenizer, text):
        import torch

        with torch.no_grad():
            return model(**tokenizer(text, return_tensors="pt")).logits[0, -1]

    client = InterpClient(
        "adapters", str(ADAPTER), is_peft=True, base_model=str(MODEL), dtype="float32", quiet=True
    )
    with client:
        found = client.run(last_logits, TEXT)
        assert client.model_info().adapter == adapter_digest(ADAPTER)
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(MODEL)(TEXT, return_tensors="pt")
    with torch.no_grad():
        plain = base(**ids).logits[0, -1].numpy()
        tuned = PeftModel.from_pretrained(base, str(ADAPTER)).eval()(**ids).logits[0, -1].numpy()
    assert np.abs(tuned - plain).max() > 0.5
    np.testing.assert_allclose(np.asarray(found), tuned, atol=1e-3)
