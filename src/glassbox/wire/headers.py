"""Headers that clients and servers give the same meaning."""

from typing import Final

ID_HEADER: Final = "x-request-id"
"""Name of a request: taken from the caller where it is harmless, sent back with the answer."""

TIMEOUT_HEADER: Final = "x-request-timeout"
"""Seconds after which nobody waits for the answer any more; a body may say so too, the shorter one
counts."""

ERROR_HEADER: Final = "x-glassbox-error"
"""Stable code of the error that an answer tells, whatever shape its body has."""

SHOULD_RETRY_HEADER: Final = "x-should-retry"
"""Whether the same request may succeed a moment later: OpenAI's clients, which otherwise repeat
whatever failed with 409 or 5xx, heed it. Source: openai-python, ``_base_client.py``."""

VERSION_HEADER: Final = "glassbox-version"
"""Version of Glassbox that gave the answer."""

REPLICA_HEADER: Final = "glassbox-replica"
"""Id of the server that gave the answer."""
