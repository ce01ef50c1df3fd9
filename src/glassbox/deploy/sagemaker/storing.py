"""Files put into the object store, looked for there, and removed.

A file is hashed before it goes, and its digest lies beside it there, so that nothing is put twice
and nothing else than a bundle describes is ever put. Knows objects; knows no deployment's plan.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from glassbox.deploy.sagemaker.aws import Aws
from glassbox.deploy.sagemaker.calls import Call, Put, Remove, Upload, bucket_and_key
from glassbox.deploy.sagemaker.naming import DEPLOYMENT_TAG, by_key
from glassbox.errors import ConflictError, CorruptArtifact, UnknownName
from glassbox.wording import counted

SHA256: Final = "sha256"
"""Name of the object's metadata that holds its digest."""

MAX_REMOVED: Final = 1000
"""Objects removed with one request. Source: S3, DeleteObjects."""

_CHUNK_BYTES = 1 << 20


def is_stored(upload: Upload, aws: Aws) -> bool:
    """Return whether a file lies in the object store as it is here."""
    bucket, key = bucket_and_key(upload.url)
    head = aws.find(Call("s3", "HeadObject", {"Bucket": bucket, "Key": key}, upload.url))
    if head is None:
        return False
    found = head.get("Metadata", {}).get(SHA256), int(head["ContentLength"])
    return found == (upload.sha256, upload.n_bytes)


def check_bucket(bucket: str, aws: Aws) -> None:
    """Let a bucket pass that is there, ours to read, and in the endpoint's region.

    Raises:
        UnknownName: There is no such bucket.
        InvalidValue: It is in another region.
        AccessDenied: It is somebody else's.
    """
    head = aws.find(Call("s3", "HeadBucket", {"Bucket": bucket}, f"s3://{bucket}"))
    if head is None:
        raise UnknownName(
            "bucket",
            bucket,
            remedy=f"Make it in {aws.region}, or name another one with --artifacts.",
        )
    region = head.get("BucketRegion") or aws.region
    if region != aws.region:
        raise ConflictError(
            f"The bucket {bucket} is in {region}, the endpoint in {aws.region}: SageMaker fetches "
            "models from its own region only. Name a bucket there with --artifacts, or the other "
            "region with --region."
        )


def put_all(put: Put, aws: Aws, report: Callable[[int, int], None]) -> None:
    """Put the files that are not there yet.

    Args:
        put: The files.
        aws: Where.
        report: Told of bytes that are there, and of all bytes.

    Raises:
        CorruptArtifact: A file is not what its description says; it and the rest are not put.
    """
    done = 0
    for upload in put.uploads:
        if not is_stored(upload, aws):
            _check(upload)
            extra: dict[str, Any] = {
                "Metadata": {SHA256: upload.sha256},
                "Tagging": urlencode(dict(upload.tags)),
            }
            if upload.kms_key:
                extra |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": upload.kms_key}
            with upload.source.open("rb") as file:
                aws.put_file(upload.url, file, extra)
        done += upload.n_bytes
        report(done, put.n_bytes)


def _check(upload: Upload) -> None:
    """Let a file pass that is what its description says, so that nothing else is ever put.

    Raises:
        CorruptArtifact: It is not.
    """
    total = hashlib.sha256()
    try:
        with upload.source.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                total.update(chunk)
    except FileNotFoundError as error:
        raise CorruptArtifact(upload.source, "the file is missing") from error
    if total.hexdigest() != upload.sha256:
        raise CorruptArtifact(
            upload.source,
            f"its SHA-256 is {total.hexdigest()[:12]}…, the bundle says {upload.sha256[:12]}…",
            remedy="Make the bundle again or fetch it again; this file was not put.",
        )


def stored_objects(prefix: str, deployment: str, aws: Aws) -> list[str]:
    """Return the addresses of a deployment's objects: below a prefix, and with its tag.

    Args:
        prefix: ``s3://bucket/prefix/``.
        deployment: Name in the tag.
        aws: Where.
    """
    bucket, start = bucket_and_key(prefix)
    found: list[str] = []
    request: dict[str, Any] = {"Bucket": bucket, "Prefix": start}
    while True:
        page = aws.find(Call("s3", "ListObjectsV2", request, prefix)) or {}
        for each in page.get("Contents", ()):
            key = {"Bucket": bucket, "Key": each["Key"]}
            tagged = aws.find(Call("s3", "GetObjectTagging", key, f"s3://{bucket}/{each['Key']}"))
            tags = by_key((tagged or {}).get("TagSet", ()))
            if tags.get(DEPLOYMENT_TAG) == deployment:
                found.append(f"s3://{bucket}/{each['Key']}")
        if not page.get("IsTruncated"):
            return found
        request = {**request, "ContinuationToken": page["NextContinuationToken"]}


def remove_all(remove: Remove, aws: Aws) -> None:
    """Remove objects.

    Raises:
        ConflictError: Some could not be removed.
    """
    for start in range(0, len(remove.urls), MAX_REMOVED):
        pairs = [bucket_and_key(url) for url in remove.urls[start : start + MAX_REMOVED]]
        request = {
            "Bucket": pairs[0][0],
            "Delete": {"Objects": [{"Key": key} for _, key in pairs], "Quiet": True},
        }
        answer = aws.call(Call("s3", "DeleteObjects", request, remove.what, sign="-"))
        errors = answer.get("Errors", ())
        if errors:
            raise ConflictError(
                f"{counted(len(errors), 'object')} could not be removed; the first is "
                f"{errors[0].get('Key')} ({errors[0].get('Code')}). Look at the bucket's policy, "
                "then run the same command again."
            )
