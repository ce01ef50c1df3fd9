from glassbox.engine.model.devices import dtype_name
from glassbox.engine.model.load import load_model
from glassbox.engine.model.unloaded import identity_of
from glassbox.types import ModelSpec


def test_what_the_files_tell_is_what_the_loaded_model_is():
    spec = ModelSpec("tiny", dtype="bfloat16", device="cpu")
    loaded = load_model(spec)
    assert identity_of(spec) == (loaded.digest, dtype_name(loaded.model.dtype))
