"""A bundle to deploy, and the two AWS's that tests have: moto, and one in memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from glassbox.deploy.sagemaker import deployment
from glassbox.deploy.sagemaker.aws import Aws
from glassbox.deploy.sagemaker.parts import Parts
from tests.deploy.sagemaker.world import parts, settings

if TYPE_CHECKING:
    from tests.deploy.sagemaker.fake_aws import FakeAws


@pytest.fixture
def made(tmp_path) -> Parts:
    return parts(tmp_path / "bundle")


@pytest.fixture
def fake() -> "FakeAws":
    from tests.deploy.sagemaker.fake_aws import FakeAws

    return FakeAws()


@pytest.fixture(params=["memory", "moto"])
def aws(request, monkeypatch) -> Iterator[Aws]:
    if request.param == "memory":
        from tests.deploy.sagemaker.fake_aws import FakeAws

        yield FakeAws().aws()
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto")
    with moto.mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="models")
        yield deployment.signed_in(settings())
