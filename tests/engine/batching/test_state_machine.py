"""Whatever happens in whatever order, every answer is the one the library gives alone."""

import random
import tempfile
import time
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from peft import LoraConfig, PeftModel, get_peft_model

from glassbox.engine.batching.answering import Capacity
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.resident import ResidentEngine
from glassbox.testing import tiny_loaded
from tests.engine.batch_world import assert_same, loaded, plain_generation, random_request

FORMS = {
    "attention": {"r": 3, "target_modules": ["q_proj", "v_proj"]},
    "all": {"r": 8, "target_modules": "all-linear"},
}
"""Adapters by name; None beside them is the base model."""

WAIT_S = 60.0


@cache
def folder(name):
    """Return the folder of a random adapter, made once."""
    torch.manual_seed(len(name))
    made = Path(tempfile.mkdtemp()) / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = LoraConfig(init_lora_weights=False, **FORMS[name])
        model = get_peft_model(tiny_loaded("llama").model, config)
        model.save_pretrained(made, save_embedding_layers=False)
    return made


@cache
def adapted(name):
    """Return a copy of the model, with the adapter merged into its weights by PEFT."""
    world = tiny_loaded("llama")
    if name is None:
        return world, world.model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return world, PeftModel.from_pretrained(world.model, folder(name)).merge_and_unload()


def alone(request):
    """Return what the library answers with nobody else there."""
    world, model = adapted(request.adapter)
    codec = TokenizerCodec(world.tokenizer)
    return plain_generation(
        model.eval(), codec, replace(request, adapter=None), context=world.context
    )


class EngineAgainstLibrary(RuleBasedStateMachine):
    """Requests come and go; everything else that may happen to an engine happens meanwhile."""

    def __init__(self):
        super().__init__()
        self.engine = ResidentEngine(
            loaded("llama"), capacity=Capacity(n_rows=4, n_waiting=64), batch_tokens=32
        )
        self.expected_scores = None
        self.shared = tuple(random.Random(0).randrange(300) for _ in range(24))
        self.loaded = set()
        self.open = []
        for name in FORMS:
            self.load(name)

    def load(self, name):
        self.engine.load_adapter(folder(name), name=name)
        self.loaded.add(name)

    @rule(seed=st.integers(0, 10_000), adapter=st.sampled_from([None, *FORMS]))
    def submit(self, seed, adapter):
        adapter = adapter if adapter in self.loaded else None
        request = replace(random_request(random.Random(seed), self.shared), adapter=adapter)
        self.open.append((request, self.engine.submit(request)))

    @rule(pause_s=st.sampled_from([0.001, 0.005]))
    def wait(self, pause_s):
        time.sleep(pause_s)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def cancel(self, data):
        data.draw(st.sampled_from(range(len(self.open))).map(self.open.__getitem__))[1].cancel()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def finish(self, data):
        self.check(*self.open.pop(data.draw(st.sampled_from(range(len(self.open))))))

    @rule()
    def forget_prompts(self):
        self.engine.forget_prompts()

    @rule(name=st.sampled_from(sorted(FORMS)))
    def take_an_adapter_away_or_bring_it_back(self, name):
        if name in self.loaded:
            self.engine.unload_adapter(name, timeout_s=0.0)
            self.loaded.discard(name)
        else:
            self.load(name)

    @rule()
    def score(self):
        found = self.engine.logprobs([self.shared], [(7,), (8, 9)]).values
        if self.expected_scores is None:
            self.expected_scores = found
        np.testing.assert_allclose(found, self.expected_scores, atol=1e-4)

    @rule()
    def lend_to_a_guest_who_leaves_a_mess(self):
        with self.engine.lend(lease_s=WAIT_S) as lent:
            lent.model.train()
            lent.model.register_forward_hook(lambda *_: None)
            with torch.no_grad():
                next(lent.model.parameters()).mul_(1.5)

    def check(self, request, ticket):
        answer, whole = ticket.result(WAIT_S), alone(request)
        if answer.finish_reason == "cancelled":
            n = len(answer.tokens.token_ids)
            assert answer.tokens.token_ids == whole.tokens.token_ids[:n]
            assert whole.text.startswith(answer.text.rstrip("\ufffd"))
        else:
            assert_same(answer, whole)

    def teardown(self):
        for request, ticket in self.open:
            self.check(request, ticket)
        self.engine.close()


TestEngineAgainstLibrary = EngineAgainstLibrary.TestCase
TestEngineAgainstLibrary.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
