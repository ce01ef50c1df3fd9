import random
import sys
import threading
import time
import warnings

import numpy as np
import peft
import pytest
import torch

from glassbox.engine.lens import LensRequest
from glassbox.engine.model import lending, lent_weights
from glassbox.engine.model.lent_surroundings import SurroundingsRecord
from glassbox.engine.protocol import AdapterRecipe, Example
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import ConflictError, DeadlineExceeded, QueueFull, UnknownName
from glassbox.testing import tiny_engine, tiny_loaded
from tests.waiting import PATIENCE_S

PROMPT = (0, 9, 8, 7, 20, 21, 22)
REQUEST = Request(PROMPT, sampling=Sampling(max_tokens=6, temperature=0.0, stop_at_end=False))


@pytest.fixture
def engine():
    made = tiny_engine()
    yield made
    made.close()


def vandalise(model):
    layer = model.model.layers[0]
    layer.register_forward_hook(lambda *_: None)
    layer.mlp.forward = lambda x: x * 0
    layer.extra = 3
    layer.self_attn.q_proj = torch.nn.Identity()
    model.train()
    model.requires_grad_(True)
    model.config.rms_norm_eps = 1.0
    model.model.norm.weight.data = torch.zeros(3)
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
    model.lm_head.weight.grad = torch.zeros_like(model.lm_head.weight)


def test_whatever_a_guest_does_is_undone(engine):
    before = engine.generate([REQUEST])[0]
    with engine.lend(lease_s=5) as lent:
        vandalise(lent.model)
    after = engine.generate([REQUEST])[0]
    assert after.tokens.token_ids == before.tokens.token_ids
    assert after.tokens.logprobs.tolist() == before.tokens.logprobs.tolist()
    with engine.lend(lease_s=5) as lent:
        assert not lent.model.training
        assert not any(weight.requires_grad for weight in lent.model.parameters())
        assert lent.model.lm_head.weight.grad is None
        assert lent.model.config.rms_norm_eps < 1
        assert not hasattr(lent.model.model.layers[0], "extra")


def test_it_is_undone_after_an_error_too(engine):
    before = engine.generate([REQUEST])[0]

    def borrow():
        with engine.lend(lease_s=5) as lent:
            vandalise(lent.model)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        borrow()
    assert engine.generate([REQUEST])[0].tokens.token_ids == before.tokens.token_ids


def test_changed_weights_without_a_copy_close_the_engine(monkeypatch):
    monkeypatch.setattr(lent_weights, "COPY_BYTES", 0)
    engine = ResidentEngine(tiny_loaded())
    lending_out = engine.lend(lease_s=5)
    with torch.no_grad():
        lending_out.__enter__().model.lm_head.weight.mul_(2)
    with pytest.raises(ConflictError, match=r"1 changed weight.*lm_head"):
        lending_out.__exit__(None, None, None)
    with pytest.raises(ConflictError, match="closed"):
        engine.submit(REQUEST)
    engine.close()


def test_requests_wait_while_the_model_is_lent(engine):
    with engine.lend(lease_s=30):
        ticket = engine.submit(REQUEST)
        time.sleep(0.2)
        assert not ticket.future.done()
    assert ticket.result(PATIENCE_S).finish_reason == "length"


def test_waiting_requests_are_told_to_come_back_when_the_lease_is_over(engine):
    with engine.lend(lease_s=0.2):
        ticket = engine.submit(REQUEST)
        with pytest.raises(QueueFull, match="Try again"):
            ticket.result(PATIENCE_S)
        with pytest.raises(QueueFull, match="Try again"):
            engine.submit(REQUEST)
    assert engine.generate([REQUEST])[0].finish_reason == "length"


def test_lending_waits_for_what_runs_and_gives_up_in_time(engine):
    long = Sampling(max_tokens=200, temperature=0.0, stop_at_end=False)
    started = threading.Event()

    def slowly(_piece):
        started.set()
        time.sleep(0.05)

    ticket = engine.submit(Request(PROMPT, sampling=long), slowly)
    assert started.wait(PATIENCE_S)
    with pytest.raises(DeadlineExceeded, match="requests are running"):
        engine.lend(lease_s=0.1).__enter__()
    ticket.cancel()
    with engine.lend(lease_s=60):
        assert ticket.result(0).finish_reason == "cancelled"


@pytest.mark.parametrize("convert", ["half", "double", "bfloat16"])
def test_a_model_that_was_converted_comes_back_in_its_own_form(engine, convert):
    before = engine.generate([REQUEST])[0]
    with engine.lend(lease_s=5) as lent:
        places = [weight.data_ptr() for weight in lent.model.parameters()]
        getattr(lent.model, convert)()
    with engine.lend(lease_s=5) as lent:
        assert {weight.dtype for weight in lent.model.parameters()} == {torch.float32}
        assert [weight.data_ptr() for weight in lent.model.parameters()] == places
    after = engine.generate([REQUEST])[0]
    assert after.tokens.logprobs.tolist() == before.tokens.logprobs.tolist()


def test_a_model_that_was_moved_away_comes_back(engine):
    before = engine.generate([REQUEST])[0]
    with engine.lend(lease_s=5) as lent:
        lent.model.to("meta")
    assert engine.generate([REQUEST])[0].tokens.token_ids == before.tokens.token_ids


def test_a_conversion_needs_no_copy_to_be_undone(monkeypatch):
    monkeypatch.setattr(lent_weights, "COPY_BYTES", 0)
    engine = ResidentEngine(tiny_loaded())
    before = engine.generate([REQUEST])[0]
    with engine.lend(lease_s=5) as lent:
        lent.model.half()
    after = engine.generate([REQUEST])[0]
    assert after.tokens.logprobs.tolist() == before.tokens.logprobs.tolist()
    engine.close()


def test_one_value_behind_the_counters_back_is_put_back(engine, monkeypatch):
    monkeypatch.setattr(lent_weights, "N_SAMPLED", 4)
    with engine.lend(lease_s=5) as lent:
        before = lent.model.lm_head.weight.detach().clone()
        lent.model.lm_head.weight.data.view(-1)[1] += 1
    with engine.lend(lease_s=5) as lent:
        assert torch.equal(lent.model.lm_head.weight, before)


def test_a_change_that_misses_the_sample_closes_the_engine(monkeypatch):
    monkeypatch.setattr(lent_weights, "COPY_BYTES", 0)
    monkeypatch.setattr(lent_weights, "N_SAMPLED", 4)
    engine = ResidentEngine(tiny_loaded())

    def borrow():
        with engine.lend(lease_s=5) as lent, torch.no_grad():
            lent.model.lm_head.weight.view(-1)[1] += 1

    with pytest.raises(ConflictError, match="changed weight"):
        borrow()
    for ask in (
        lambda: engine.submit(REQUEST),
        lambda: engine.logprobs([PROMPT], [(5,)]),
        lambda: engine.lens(LensRequest(PROMPT, (1,))),
        lambda: engine.lend(lease_s=1).__enter__(),
    ):
        with pytest.raises(ConflictError, match="closed"):
            ask()
    engine.close()


def test_whatever_is_in_the_way_of_restoring_closes_the_engine(monkeypatch):
    engine = ResidentEngine(tiny_loaded())

    def fail(self, *, thoroughly=False):
        raise RuntimeError("tensors are on different devices")

    monkeypatch.setattr(lending.Lending, "undo", fail)

    def borrow():
        with engine.lend(lease_s=5):
            pass

    with pytest.raises(RuntimeError, match="different devices"):
        borrow()
    with pytest.raises(ConflictError, match="closed"):
        engine.submit(REQUEST)
    engine.close()


def undone(engine, change):
    with engine.lend(lease_s=5) as lent:
        change(lent)
        notes = lent.undo()
        assert lent.undo() == ()
    assert lent.leftovers == []
    return notes


def test_what_was_undone_is_said_in_words(engine):
    def change(lent):
        vandalise(lent.model)
        lent.model.generation_config.max_length = 3

    assert set(undone(engine, change)) == {
        "1 forward hook removed",
        "training mode of 32 modules put back",
        "patched forward of 1 module (model.layers.0.mlp) put back",
        "1 submodule (model.layers.0.self_attn.q_proj) put back",
        "1 attribute (model.layers.0.extra) put back",
        "config put back (rms_norm_eps)",
        "generation_config put back (max_length)",
        "gradients of 1 weight dropped",
        "requires_grad of 20 weights put back",
        "memory or number format of 1 weight put back",
        "values of 1 changed weight put back (lm_head.weight)",
    }


def test_a_guest_that_only_looks_leaves_nothing(engine):
    def look(lent):
        ids = lent.tokenizer("the positive", return_tensors="pt")
        lent.model(**ids, output_hidden_states=True)
        lent.model.generate(**ids, max_new_tokens=2, do_sample=False)

    assert undone(engine, look) == ()


def test_library_hooks_are_taken_out_without_a_word_and_come_again(engine):
    with engine.lend(lease_s=5) as lent:
        ids = lent.tokenizer("the positive", return_tensors="pt")
        first = lent.model(**ids, output_hidden_states=True).hidden_states
        assert lent.undo() == ()
        again = lent.model(**ids, output_hidden_states=True).hidden_states
    assert len(first) == len(again) == 3
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    "draw",
    [
        random.random,
        lambda: setattr(random.getstate.__self__, "gauss_next", 0.5),
        lambda: random.setstate((*random.getstate()[:2], 0.5)),
        np.random.rand,
        lambda: torch.rand(1),
    ],
)
def test_random_state_is_put_back(engine, draw):
    states = random.getstate(), numpy_state(), torch.get_rng_state().tolist()
    (note,) = undone(engine, lambda _: draw())
    assert note.startswith("random state put back (")
    assert states == (
        random.getstate(),
        numpy_state(),
        torch.get_rng_state().tolist(),
    )


def test_random_state_of_apples_devices_is_put_back(monkeypatch):
    # Torch's own functions, over a generator of the processor: only the device is missing.
    generator = torch.Generator()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "_get_default_mps_generator", lambda: generator)
    record, before = SurroundingsRecord(), generator.get_state()
    assert record.restore() == ()
    torch.rand(3, generator=generator)
    assert record.restore() == ("random state put back (MPS's)",)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda: torch.set_default_dtype(torch.float64), "default dtype"),
        (lambda: torch.set_grad_enabled(False), "gradients"),
        (lambda: torch.set_num_threads(3), "threads"),
        (lambda: torch.set_default_device("meta"), "default device"),
    ],
)
def test_settings_of_torch_are_put_back(engine, change, note):
    before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    (said,) = undone(engine, lambda _: change())
    assert note in said
    assert before == (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())
    assert torch.zeros(1).device.type == "cpu"


def test_the_tokenizer_is_put_back(engine):
    with engine.lend(lease_s=5) as lent:
        tokenizer = lent.tokenizer
        before = tokenizer("the <foo>", padding=True)["input_ids"], len(tokenizer)
        tokenizer.pad_token = "the"
        tokenizer.padding_side = "left"
        tokenizer.chat_template = "x"
        tokenizer.add_tokens(["<foo>", "<bar>"])
        notes = lent.undo()
        assert "2 added tokens forgotten" in notes
        assert any("padding_side" in note and "chat_template" in note for note in notes)
        after = tokenizer("the <foo>", padding=True)["input_ids"], len(tokenizer)
        assert after == before
        assert (tokenizer.pad_token, tokenizer.padding_side) == ("</s>", "right")
        assert lent.undo() == ()


def test_a_patched_class_and_global_hooks_are_put_back(engine):
    def patch(lent):
        kind = type(lent.model.model.layers[0].mlp)
        kind.forward = lambda self, x: x
        torch.nn.modules.module.register_module_forward_hook(lambda *_: None)

    notes = undone(engine, patch)
    assert set(notes) == {
        "1 global forward hook removed",
        "patched LlamaMLP.forward put back",
    }


def test_patched_functions_of_the_files_of_a_model_are_put_back(engine):
    before = engine.generate([REQUEST])[0]

    def patch(lent):
        modelling = sys.modules[type(lent.model).__module__]
        modelling.apply_rotary_pos_emb = lambda q, k, *_args, **_options: (q, k)
        torch.nn.functional.scaled_dot_product_attention = lambda q, *_args, **_options: q

    assert set(undone(engine, patch)) == {
        "patched transformers.models.llama.modeling_llama.apply_rotary_pos_emb put back",
        "patched torch.nn.functional.scaled_dot_product_attention put back",
    }
    after = engine.generate([REQUEST])[0]
    assert after.tokens.logprobs.tolist() == before.tokens.logprobs.tolist()


def test_layers_of_peft_are_taken_out(engine):
    before = engine.generate([REQUEST])[0]

    def adapt(lent):
        lent.model.add_adapter(peft.LoraConfig(target_modules=["q_proj"], r=2))

    notes = undone(engine, adapt)
    assert "2 adapter layers taken out" in notes
    after = engine.generate([REQUEST])[0]
    assert after.tokens.logprobs.tolist() == before.tokens.logprobs.tolist()


def test_a_write_behind_torchs_back_is_found_at_the_end_at_the_latest(engine, monkeypatch):
    monkeypatch.setattr(lent_weights, "N_LOOKED_AT", 0)
    with engine.lend(lease_s=5) as lent:
        weight = lent.model.lm_head.weight
        before = weight.detach().clone()
        torch.empty(0).set_(weight.untyped_storage())[0].add_(1)
        assert lent.undo() == ()
    assert lent.leftovers == ["values of 1 changed weight put back (lm_head.weight)"]
    assert torch.equal(weight, before)


def test_a_counter_that_moved_without_a_change_is_no_change(monkeypatch):
    monkeypatch.setattr(lent_weights, "COPY_BYTES", 0)
    engine = ResidentEngine(tiny_loaded())

    def add_nothing(lent):
        with torch.no_grad():
            lent.model.lm_head.weight.add_(0.0)
            lent.model.lm_head.weight.mul_(2).div_(2)

    assert undone(engine, add_nothing) == ()
    engine.close()


def test_guests_who_make_weights_part_of_a_graph_leave_no_trace(engine):
    def train(lent):
        lent.model.requires_grad_(True)
        ids = lent.tokenizer("the positive", return_tensors="pt")
        lent.model(**ids, labels=ids["input_ids"]).loss.backward()
        lent.model.model.rotary_emb.inv_freq.mul_(lent.model.lm_head.weight.sum())

    notes = undone(engine, train)
    assert any(note.startswith("gradients of") for note in notes)
    assert any(note.startswith("requires_grad of") for note in notes)


def test_the_model_is_recorded_anew_after_a_fit(engine, tmp_path):
    with engine.lend(lease_s=5):
        pass
    examples = [Example(PROMPT, 0), Example(PROMPT, 1)]
    engine.fit_adapter(
        examples, examples, [(5,), (6,)], torch.nn.functional.cross_entropy, tmp_path,
        AdapterRecipe(rank=2, epochs=1),
    )  # fmt: skip
    assert undone(engine, lambda _: None) == ()


def test_an_adapter_is_part_of_the_model_while_it_is_lent_with_it(engine, tmp_path):
    ids = torch.tensor([PROMPT])
    save_adapter(tmp_path)
    engine.load_adapter(tmp_path, name="mine")
    with engine.lend(lease_s=5) as lent:
        base = lent.model(ids).logits
    with engine.lend(lease_s=5, adapter="mine") as lent:
        adapted = lent.model(ids).logits
        assert lent.undo() == ()
        assert torch.equal(lent.model(ids).logits, adapted)
    assert not torch.allclose(base, adapted)
    with engine.lend(lease_s=5) as lent:
        assert torch.equal(lent.model(ids).logits, base)
        assert lent.undo() == ()
    with pytest.raises(UnknownName, match="other"):
        engine.lend(lease_s=5, adapter="other").__enter__()


def test_a_guest_knows_whether_the_model_is_wanted(engine):
    with engine.lend(lease_s=30) as lent:
        assert not lent.is_wanted()
        ticket = engine.submit(REQUEST)
        assert lent.is_wanted()
    assert ticket.result(PATIENCE_S).finish_reason == "length"


def numpy_state():
    return np.random.get_state()[1].tolist()  # noqa: NPY002  the state that guests share


def save_adapter(folder):
    config = peft.LoraConfig(target_modules=["q_proj"], r=2, init_lora_weights=False)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # PEFT asks the library for a name that it is about to drop.
        warnings.simplefilter("ignore", FutureWarning)
        peft.get_peft_model(tiny_loaded().model, config).save_pretrained(folder)
