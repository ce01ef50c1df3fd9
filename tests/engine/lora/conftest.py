"""Adapters as PEFT saves them, and an object store to put them into."""

from pathlib import Path

import pytest

from tests.engine.fit_world import tiny_model
from tests.engine.lora.bank_world import FORMS, save_adapter


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("made")
    config = LoraConfig(r=3, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(tiny_model(), config).save_pretrained(folder)
    return folder


@pytest.fixture
def s3(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto")
    with moto.mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        yield client


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, list[Path]]:
    """Adapters of several shapes for three architectures, as PEFT saves them."""
    root = tmp_path_factory.mktemp("adapters")
    return {
        architecture: [
            save_adapter(root / architecture / str(number), architecture, number, **form)
            for number, form in enumerate(forms)
        ]
        for architecture, forms in FORMS.items()
    }
