"""A small bundle, settings for it, and the two AWS's that tests have: moto, and one in memory."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from glassbox.artifacts import indented_json
from glassbox.deploy.bundle import BUNDLE_FILE, Base, Bundle, Recorded
from glassbox.deploy.sagemaker import deployment
from glassbox.deploy.sagemaker.aws import Aws
from glassbox.deploy.sagemaker.carrying_out import Watcher, carry_out
from glassbox.deploy.sagemaker.parts import Parts, Served
from glassbox.deploy.sagemaker.waiting import Patience
from glassbox.settings import EndpointSettings, load_settings

ACCOUNT = "123456789012"
BASE = "b" * 64
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/glassbox:0.1.0"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/glassbox-sagemaker"

AT_ONCE = Patience(wait_s=100.0, every_s=1.0, sleep=lambda seconds: None, clock=lambda: 0.0)


def settings(**given: object) -> EndpointSettings:
    wanted = {
        "name": "shop",
        "region": "us-east-1",
        "image": IMAGE,
        "role": ROLE,
        "artifacts": "s3://models/deploy",
        **given,
    }
    return load_settings({f"endpoint.{key}": value for key, value in wanted.items()}).endpoint


def write_bundle(
    folder: Path, files: Mapping[str, bytes] | None = None, *, name: str = "tiny", **base: object
) -> Bundle:
    contents = files or {"notes/a.txt": b"first", "notes/b.txt": b"second"}
    recorded = {}
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        recorded[path] = Recorded(hashlib.sha256(content).hexdigest(), len(content))
    about = {"kind": "embedded", "reference": "tiny", "revision": None, "digest": BASE,
             "has_weights": False, **base}  # fmt: skip
    bundle = Bundle(name=name, glassbox="0.1.0", base=Base(**about), files=recorded)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BUNDLE_FILE).write_bytes(indented_json(bundle.to_json()))
    return bundle


def served(folder: Path, **given: object) -> Served:
    return Served(write_bundle(folder, **given), folder)


def parts(folder: Path, **given: object) -> Parts:
    return Parts(served(folder, **given))


def write_adapter(folder: Path, *, base_digest: str = BASE, seed: int = 0) -> Path:
    """An adapter as PEFT and Glassbox write it, small enough to make thirty of."""
    import torch
    from safetensors.torch import save

    from glassbox.artifacts import digest_contents

    made = torch.Generator().manual_seed(seed)
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    weights = save(
        {
            f"{module}.lora_A.weight": torch.randn(2, 4, generator=made),
            f"{module}.lora_B.weight": torch.randn(4, 2, generator=made),
        }
    )
    config = json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules":
                         ["q_proj"], "base_model_name_or_path": "tiny"}).encode()  # fmt: skip
    contents = {"adapter_config.json": config, "adapter_model.safetensors": weights}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    origin = {"schema_version": 1, "base": "tiny", "base_digest": base_digest,
              "digest": digest_contents(contents)}  # fmt: skip
    if base_digest:
        (folder / "glassbox.json").write_text(json.dumps(origin))
    return folder


def apply(asked: EndpointSettings, made: Parts, aws: Aws) -> Watcher:
    return carry_out(deployment.planned(asked, made, aws).actions, aws, None, AT_ONCE)
