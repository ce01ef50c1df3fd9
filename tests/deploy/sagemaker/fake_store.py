"""An object store in memory, and who asks for it: as AWS answers, page by page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from botocore.exceptions import ClientError

ACCOUNT = "123456789012"
REGION = "us-east-1"
BUCKET = "models"


def refusal(code: str, message: str, *, status: int = 400, operation: str = "Any") -> ClientError:
    answer = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, operation)


def listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@dataclass
class FakeStore:
    """One bucket of an account."""

    bucket_region: str = REGION
    account: str = ACCOUNT
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)

    def _get_caller_identity(self, request):
        return {"Account": self.account, "Arn": f"arn:aws:iam::{self.account}:user/x"}

    def _head_bucket(self, request):
        if request["Bucket"] != BUCKET:
            raise refusal("404", "Not Found", status=404)
        return {"BucketRegion": self.bucket_region}

    def _head_object(self, request):
        found = self.objects.get(request["Key"])
        if found is None:
            raise refusal("404", "Not Found", status=404)
        return {"ContentLength": len(found["body"]), "Metadata": found["metadata"]}

    def _put_object(self, request):
        tags = dict(parse_qsl(request["Tagging"]))
        self.objects[request["Key"]] = {
            "body": request["Body"], "metadata": request["Metadata"], "tags": tags, **request
        }  # fmt: skip

    def _list_objects_v2(self, request):
        start = request.get("ContinuationToken", "")
        keys = sorted(each for each in self.objects
                      if each.startswith(request["Prefix"]) and each > start)  # fmt: skip
        page: dict[str, Any] = {"Contents": [{"Key": key} for key in keys[:2]]}
        if len(keys) > 2:
            page |= {"IsTruncated": True, "NextContinuationToken": keys[1]}
        return page

    def _get_object_tagging(self, request):
        return {"TagSet": listed(self.objects[request["Key"]]["tags"])}

    def _delete_objects(self, request):
        for each in request["Delete"]["Objects"]:
            self.objects.pop(each["Key"], None)
