"""Answers that are too large to be sent, put into an object store instead. Knows no route."""

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from glassbox.engine.lora.object_store import connect, store_errors
from glassbox.errors import InvalidValue
from glassbox.wire.sagemaker import StoredAnswered

_ENDINGS: Final = {
    "application/json": ".json",
    "application/problem+json": ".json",
    "application/vnd.safetensors": ".safetensors",
}


class LargeAnswers:
    """A prefix in an object store.

    Args:
        prefix: ``s3://bucket/prefix/``.
        client: Returns a client of the store; asked once, at the first answer.

    Raises:
        InvalidValue: The prefix is no address in an object store.
    """

    def __init__(self, prefix: str, client: Callable[[], Any] = connect) -> None:
        bucket, _, path = prefix.removeprefix("s3://").partition("/")
        if not prefix.startswith("s3://") or not bucket:
            raise InvalidValue("server.large_answers", prefix, "an address s3://bucket/prefix/")
        self._bucket = bucket
        self._path = path.strip("/") + "/" if path.strip("/") else ""
        self._connect = client
        self._client: Any = None

    def put(self, content: bytes, content_type: str) -> StoredAnswered:
        """Return where an answer is now; takes as long as the network does.

        Args:
            content: The answer.
            content_type: What it is.

        Raises:
            GlassboxError: The store does not take it, or cannot be reached.
        """
        kind = content_type.partition(";")[0].strip().lower()
        # Names that nobody can guess: who may list the bucket is another question.
        name = f"{time.strftime('%Y/%m/%d', time.gmtime())}/{secrets.token_hex(16)}"
        key = f"{self._path}{name}{_ENDINGS.get(kind, '')}"
        location = f"s3://{self._bucket}/{key}"
        with store_errors(location, "bucket"):
            if self._client is None:
                self._client = self._connect()
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=content, ContentType=content_type
            )
        return StoredAnswered(
            location=location,
            content_type=content_type,
            n_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
