"""The client beside a small backend: what travels, what comes back, what is said."""

import threading
import time

import pytest

from glassbox.errors import (
    DeadlineExceeded,
    InvalidValue,
    TechniqueFailed,
    UnknownName,
    UsageError,
    VersionMismatch,
)
from glassbox.techniques.calls import Environment, Limits, Run
from glassbox.techniques.client import link
from glassbox.techniques.client.blocking import InterpClient
from glassbox.techniques.worker_spec import WorkerSpec
from tests.techniques.small_backend import MODEL_INFO
from tests.waiting import PATIENCE_S


def doubled(model, tokenizer, number, *, plus=0):
    return 2 * number + plus


def shouting(model, tokenizer, *words):
    for word in words:
        model[0](word)
    return len(words)


def failing(model, tokenizer):
    raise ValueError("not today")


def waiting(model, tokenizer, seconds):
    model[0]("begun")
    time.sleep(seconds)
    return "done"


def test_a_function_is_called_with_its_arguments_and_its_result_comes_back(client):
    assert client.run(doubled, 4) == 8
    assert client.run(doubled, number=4, plus=1) == 9
    assert client.run(lambda model, tokenizer: (len(model), tokenizer)) == (1, "tok")


def test_a_function_travels_once_and_then_its_digest(client, backend):
    for number in range(3):
        client.run(doubled, number)
    assert [call.shipment is not None for call in backend.calls] == [True, False, False]
    assert len({call.technique for call in backend.calls}) == 1


def test_a_large_function_is_named_before_it_travels(client, backend, monkeypatch):
    monkeypatch.setattr(link, "SEND_AT_ONCE_BYTES", 0)
    assert client.run(doubled, 1) == 2
    assert [call.shipment is not None for call in backend.calls] == [False, True]


def test_a_side_that_forgot_a_function_gets_it_again(client, backend):
    assert client.run(doubled, 1) == 2
    backend.known.clear()
    assert client.run(doubled, 2) == 4
    assert [call.shipment is not None for call in backend.calls] == [True, False, True]


def test_a_function_that_uses_a_changed_global_travels_anew(client):
    home = {}
    exec("STEP = 1\ndef stepped(model, tokenizer, x):\n    return x + STEP\n", home)
    assert client.run(home["stepped"], 1) == 2
    home["STEP"] = 5
    assert client.run(home["stepped"], 1) == 6


def test_the_model_is_made_resident_by_the_first_call_alone(client, backend):
    assert backend.n_started == 0
    client.run(doubled, 1)
    assert client.last is not None
    assert client.last.timing.load_s > 0
    client.run(doubled, 2)
    assert client.last.timing.load_s == 0
    assert backend.n_started == 1
    assert client.model_info() == MODEL_INFO


def test_what_a_run_was_is_kept_until_the_next(client):
    assert client.last is None
    client.run(shouting, "a", "b")
    assert client.last is not None
    assert client.last.lines == ("a", "b")
    assert client.last.undone == ("1 forward hook removed",)
    assert client.last.timing.run_s == 0.002
    assert client.last.total_s > 0
    assert "1 forward hook removed" in str(client.last)


def test_printed_lines_are_shown_as_they_come(backend, capsys):
    client = InterpClient(backend=backend)
    client.run(shouting, "one", "two")
    assert capsys.readouterr().out == "one\ntwo\n"
    heard = []
    client.options(on_line=heard.append).run(shouting, "three")
    client.options(quiet=True).run(shouting, "four")
    assert heard == ["three"]
    assert capsys.readouterr().out == ""


def test_a_remote_error_is_the_same_error_here_with_the_remote_one_as_its_cause(client):
    with pytest.raises(ValueError, match="not today") as caught:
        client.run(failing)
    assert isinstance(caught.value.__cause__, TechniqueFailed)
    assert client.last is not None
    assert client.last.status == "failed"


def test_a_handle_tells_status_and_lines_while_it_runs(client):
    run = client.submit(waiting, 0.5)
    assert run.status == "running"
    lines = run.lines()
    assert next(lines) == "begun"
    assert not run.has_ended
    with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s"):
        run.result(timeout_s=0.05)
    assert run.result(timeout_s=PATIENCE_S) == "done"
    assert run.result() == "done"
    assert list(lines) == []
    assert list(run.lines()) == ["begun"]
    assert run.status == "succeeded"


def test_a_run_can_be_cancelled(client, backend):
    run = client.submit(waiting, 600)
    run.cancel()
    assert run.wait(PATIENCE_S)
    assert run.status == "cancelled"
    run.cancel()
    assert backend.cancelled == [run.id]
    with pytest.raises(RuntimeError, match="cancelled"):
        run.result()


def test_whoever_stops_waiting_stops_the_run(client, backend, monkeypatch):
    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    run_of = backend.run
    monkeypatch.setattr(backend, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        client.run(waiting, 60)
    monkeypatch.setattr(backend, "run", run_of)
    assert len(backend.cancelled) == 1


def test_a_map_travels_once_and_answers_in_order(client, backend):
    assert client.map(doubled, [1, 2, 3], plus=1) == [3, 5, 7]
    assert client.map(doubled, [{"number": 1}, {"number": 2, "plus": 5}]) == [2, 9]
    assert client.map(doubled, []) == []
    assert len(backend.calls) == 3


def test_bare_inputs_need_a_parameter_to_go_to(client):
    with pytest.raises(InvalidValue, match="mappings of parameter names"):
        client.map(lambda model, tokenizer: 1, [1, 2])


def test_values_of_a_session_stay_there_until_they_are_asked_for(client, backend):
    with client.session() as session:
        put = session.put([1, 2, 3])
        kept = session.keep(doubled, 4)
        assert session.run(doubled, kept) == 16
        assert session.get(put) == [1, 2, 3]
        assert session.get(kept) == 8
    assert not backend.sessions
    with pytest.raises(UnknownName, match="session"):
        session.run(doubled, 1)
    with client.session() as other, pytest.raises(InvalidValue, match="of this session"):
        other.get(kept)


def test_four_threads_share_a_client(client, backend):
    results = {}

    def work(name):
        results[name] = [client.run(doubled, number) for number in range(10)]
        assert client.last is not None

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result == [2 * number for number in range(10)] for result in results.values())
    assert backend.n_started == 1


def test_choices_can_be_made_anew_without_a_new_backend(client, backend):
    strict = client.options(limits=Limits(wall_s=3.0))
    strict.run(doubled, 1)
    client.run(doubled, 1)
    assert [call.limits.wall_s for call in backend.calls] == [3.0, None]
    with pytest.raises(UnknownName, match="Did you mean 'limits'"):
        client.options(limit=3)


def test_an_unlike_python_on_the_other_side_is_refused_before_anything_travels(client, backend):
    backend.there = Environment("2.7.18", dict(backend.there.versions))
    with pytest.raises(VersionMismatch, match=r"2\.7\.18"):
        client.run(doubled, 1)
    assert not backend.calls


def test_a_difference_that_may_matter_is_noted_once(client, backend, caplog):
    versions = {**backend.there.versions, "torch": "1.0.0"}
    backend.there = Environment(backend.there.python, versions)
    client.run(doubled, 1)
    client.run(shouting)
    assert len([note for note in client.notes if "torch" in note]) == 1
    assert len([record for record in caplog.records if "torch" in record.message]) == 1


def test_names_of_old_are_translated_with_a_note(backend, caplog):
    client = InterpClient(backend=backend, keep_warm=1, container_idle_timeout=60)
    assert any("min_containers" in note for note in client.notes)
    assert any("scaledown_window" in note for note in client.notes)
    assert len(caplog.records) == 2


def test_options_that_make_no_sense_are_refused(backend, tmp_path):
    with pytest.raises(UnknownName, match="A10G"):
        InterpClient(gpu="A10X")
    with pytest.raises(UnknownName, match=r"http://"):
        InterpClient(backend="cloud")
    with pytest.raises(InvalidValue, match="is_peft=True"):
        InterpClient(base_model="gpt2")
    with pytest.raises(InvalidValue, match="base_model"):
        InterpClient(model_name=str(tmp_path), is_peft=True)
    with pytest.raises(UsageError, match="hidden_system_prompt"):
        InterpClient(backend="http://127.0.0.1:1", hidden_system_prompt="secret")


def test_a_server_must_hold_the_model_that_is_named(backend, monkeypatch):
    from glassbox.techniques.client import options as client_options

    monkeypatch.setattr(client_options, "open_backend", lambda *_: (backend, ()))
    monkeypatch.setattr(
        "glassbox.techniques.client.blocking.open_backend", lambda *_: (backend, ())
    )
    url = "http://127.0.0.1:1"
    with pytest.raises(UnknownName, match="model on that server 'other'"):
        InterpClient(model_name="other", backend=url, quiet=True).run(doubled, 4)
    held = MODEL_INFO.model
    assert InterpClient(model_name=held, backend=url, quiet=True).run(doubled, 4) == 8
    assert InterpClient(backend=url, quiet=True).run(doubled, 4) == 8
    with pytest.raises(UnknownName, match="model on that server 'other'"):
        InterpClient(model_name="other", backend=url, quiet=True).model_info()


def test_a_server_keeps_its_model_whatever_adapter_is_named():
    with pytest.raises(InvalidValue, match="keeps the model that it has"):
        InterpClient("a", "some/adapter", backend="http://h:1", base_model="b", is_peft=True)


def test_an_adapter_names_its_base_model_unless_the_caller_does(tmp_path, monkeypatch):
    from glassbox.techniques.client import options as client_options

    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "gpt2"}')
    folder = str(tmp_path)
    assert client_options.model_and_adapter(folder, None, True) == ("gpt2", folder)
    assert client_options.model_and_adapter(folder, "base", True) == ("base", folder)
    assert client_options.model_and_adapter("gpt2", None, False) == ("gpt2", None)


def test_a_local_client_asks_for_the_worker_it_describes(monkeypatch, tmp_path):
    monkeypatch.setenv("GLASSBOX_PATHS__WORKERS", str(tmp_path))
    client = InterpClient(
        "mine", "gpt2", hidden_system_prompt="secret", container_idle_timeout=60, quiet=True
    )
    assert client.backend.spec == WorkerSpec(
        model="gpt2", app_name="mine", hidden_system_prompt="secret", idle_s=60.0
    )
    warm = InterpClient(min_containers=1, quiet=True)
    assert warm.backend.spec.idle_s is None
    assert not list(tmp_path.iterdir()), "nothing is started before the first call"


def test_techniques_are_found_by_name_and_in_files(client, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def tripled(model, tokenizer, x):\n    'Return thrice x.'\n    return 3 * x\n"
    )
    (tmp_path / "broken.py").write_text("def half(:\n")
    assert client.run(f"{tmp_path / 'mine.py'}:tripled", 2) == 6
    found = client.load_techniques_from_dir(tmp_path)
    assert list(found) == ["tripled"]
    assert "broken.py" in found.broken
    assert any("broken.py" in note for note in client.notes)
    assert client.run("tripled", 3) == 9
    assert client.run(found["tripled"], 1) == 3
    assert client.techniques()["tripled"] == "Return thrice x."
    with pytest.raises(UnknownName, match="twelve"):
        client.run(f"{tmp_path / 'mine.py'}:twelve")
    with pytest.raises(UnknownName, match=r"FILE\.py:FUNCTION"):
        client.run("mine.txt:tripled")


def test_where_torch_is_absent_tensors_come_as_arrays(backend, monkeypatch):
    numpy = pytest.importorskip("numpy")
    torch = pytest.importorskip("torch")

    def ones(model, tokenizer):
        import torch

        return {"x": torch.ones(2)}

    assert isinstance(InterpClient(backend=backend, quiet=True).run(ones)["x"], torch.Tensor)
    monkeypatch.setattr("glassbox.techniques.client.calling.has_torch", lambda: False)
    assert isinstance(InterpClient(backend=backend, quiet=True).run(ones)["x"], numpy.ndarray)


def test_the_client_itself_takes_less_than_a_millisecond(client, backend):
    run = Run("r", "succeeded", result=None)
    client.run(doubled, 1)
    done = next(iter(backend.runs.values()))
    backend.submit = lambda call, wait_s=0.0: done
    took = []
    for _ in range(50):
        begun = time.perf_counter()
        client.run(doubled, 1)
        took.append(time.perf_counter() - begun)
    assert run.status == "succeeded"
    # With run-time checks of every annotation, as in this suite, it takes several times as long.
    assert sorted(took)[25] < 0.01
