"""How a response is joined to its prompt: somebody's by rule, the model's own as it wrote it."""

from pathlib import Path

import pytest

from glassbox.introspection.evidence.gathering import as_it_stands
from glassbox.introspection.evidence.witness import Plan, Witness, own_answer, plain_encode
from glassbox.introspection.verifier.verify import WRITTEN, Verifier
from glassbox.runtime import Runtime
from glassbox.testing import FakeEngine


@pytest.mark.parametrize(
    ("prompt", "response", "standing"),
    [
        ("The capital is", "Vienna", " Vienna"),
        ("The capital is", " Vienna", " Vienna"),
        ("The capital is\n", "Vienna", "Vienna"),
        ("Once upon a time", ", there was", ", there was"),
        ("A share of", ".5", " .5"),
        ("He said", "'no'", " 'no'"),
        ("フランスの首都は", "パリ", "パリ"),
        ("프랑스의 수도는", "파리", " 파리"),
    ],
)
def test_a_response_is_joined_to_a_plain_prompt_as_a_writer_would(
    prompt: str, response: str, standing: str
) -> None:
    assert as_it_stands(FakeEngine().codec, prompt, response) == standing


def test_a_response_is_joined_to_a_chat_prompt_as_the_template_does() -> None:
    template = (
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    codec = FakeEngine(chat_template=template).codec
    assert as_it_stands(codec, "Where?", "Vienna") == " Vienna"
    assert as_it_stands(codec, "Where?", "\nVienna") == "\nVienna"


@pytest.mark.data
@pytest.mark.parametrize("name", ["stories260K", "babyllama-105"])
def test_an_answer_of_its_own_is_read_as_the_model_wrote_it(name: str, data_dir: Path) -> None:
    runtime = Runtime.load()
    engine = runtime.open_engine(runtime.model_spec(str(data_dir / "models" / name)))
    witness = Witness(engine, plain_encode(engine.codec), Plan())
    for prompt in ("Once upon a time", "Once upon a", "Lily went to the park and"):
        (written,) = witness.answers([own_answer(witness, prompt, WRITTEN)])
        verdict = Verifier(engine).verify(prompt, k=0)
        assert verdict.response == written.text.strip()
        # Later on, drawn tokens may spell the text in another way than the tokenizer does.
        read = [each.logprob for each in verdict.tokens[:5]]
        assert read == pytest.approx(written.tokens.logprobs[:5].tolist(), abs=2e-3)
    engine.close()
