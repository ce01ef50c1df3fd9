import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidValue, UnknownName
from glassbox.techniques.container_spec import (
    GPUS,
    Container,
    Image,
    container,
    gpu_named,
    image_of,
    meaningless,
)


def test_nothing_asked_for_scales_to_zero_after_five_minutes():
    wanted, notes = container()
    assert (wanted, notes) == (Container(), ())
    assert wanted.idle_s == 300.0


@pytest.mark.parametrize("name", ["A10G", "A100", "H100", "L4", "any"])
def test_the_gpus_of_the_document_are_known(name):
    gpu = gpu_named(name)
    assert gpu.name == name
    assert gpu.modal
    assert (gpu.ray is None) == (name == "any")


@given(st.sampled_from(sorted(GPUS)), st.booleans(), st.sampled_from(["", ":1"]))
def test_gpu_names_know_no_case(name, upper, count):
    assert gpu_named((name.upper() if upper else name.lower()) + count) is GPUS[name]


def test_names_of_theirs_mean_the_same_gpu():
    assert gpu_named("A10") is GPUS["A10G"]
    assert gpu_named("A10G").modal == ("A10",)
    assert gpu_named("A10G").ray == "A10G"


def test_an_unknown_gpu_names_the_known_ones():
    with pytest.raises(UnknownName, match="Did you mean 'H100'"):
        gpu_named("H10")


def test_one_model_is_on_one_gpu():
    with pytest.raises(InvalidValue, match="one device"):
        gpu_named("H100:8")


def test_former_names_are_translated_with_a_note():
    wanted, notes = container(keep_warm=1, container_idle_timeout=60)
    assert (wanted.min_containers, wanted.scaledown_window_s, wanted.idle_s) == (1, 60, None)
    assert notes == (
        "keep_warm is called min_containers now: taken as min_containers=1.",
        "container_idle_timeout is called scaledown_window now: taken as scaledown_window=60.",
    )


def test_a_former_and_a_present_name_may_agree_but_not_differ():
    assert container(keep_warm=2, min_containers=2)[0].min_containers == 2
    with pytest.raises(InvalidValue, match="keep_warm is 1; allowed: 2"):
        container(keep_warm=1, min_containers=2)
    with pytest.raises(InvalidValue, match="It is scaledown_window now, which says 30"):
        container(container_idle_timeout=60, scaledown_window=30)


@pytest.mark.parametrize(
    ("given_", "match"),
    [
        ({"min_containers": -1}, "min_containers is -1"),
        ({"min_containers": True}, "min_containers is True"),
        ({"scaledown_window": 0}, "scaledown_window is 0"),
        ({"container_idle_timeout": -3}, "scaledown_window is -3"),
    ],
)
def test_numbers_outside_what_is_allowed(given_, match):
    with pytest.raises(InvalidValue, match=match):
        container(**given_)


@pytest.mark.parametrize(
    "requirement",
    ["scipy", "scipy>=1.13,<2", "transformers[torch] >= 5", "a.b-c_d==1.0+cpu", "x @ https://h/x.whl",
     "numpy; python_version < '3.13'"],
)  # fmt: skip
def test_requirements_are_taken_as_pip_takes_them(requirement):
    assert image_of(requirement) == image_of([requirement]) == Image((requirement,))


@pytest.mark.parametrize(
    "image",
    ["--index-url https://example.org", "-r other.txt", "", "scipy\n--pre", ["scipy", 3],
     {"scipy": 1}, 42],
)  # fmt: skip
def test_what_is_neither_a_requirement_nor_an_image_is_refused(image):
    with pytest.raises(InvalidValue, match="image is"):
        image_of(image)


def test_a_whole_image_is_known_by_its_face():
    class Made:
        def pip_install(self, *packages):
            """As a modal.Image has it."""

    made = Made()
    assert image_of(made) == Image(made=made)
    assert image_of(image_of(made)).made is made


def test_what_means_nothing_at_a_place_is_said():
    everything = container(gpu="H100", image=["scipy"], min_containers=2)[0]
    assert len(meaningless("local", everything)) == 3
    assert len(meaningless("http", everything)) == 2
    assert meaningless("ray", everything) == meaningless("modal", everything) == ()
    assert meaningless("local", Container()) == ()
    assert meaningless("local", container(gpu="any", min_containers=1)[0]) == ()
