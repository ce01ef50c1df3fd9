"""Names of requests that sort by time, and the number by which the log finds them.

Random names land anywhere in an index, and each costs a page of it; names that grow with time
share the last page. Names from outside may be anything: they are found just the same.
"""

import os
import time
import zlib
from typing import Final

from glassbox.errors import InvalidValue

MOST_CHARACTERS: Final = 200
"""Length of a request's name."""


def new_request_id() -> str:
    """Return a new name: a UUID of version 7, milliseconds of Unix time followed by 74 random bits.

    Source: RFC 9562, section 5.7.
    """
    text = ((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def request_key(request_id: str) -> int:
    """Return the number that the index of requests holds, [0, 2**60).

    Of a version 7 UUID it is the time and the first random bits, so that it grows with time; of
    any other name a checksum. Two names may share a number: whoever finds one compares the name.

    Raises:
        InvalidValue: A name that is empty, too long, or no valid text.
    """
    if not 0 < len(request_id) <= MOST_CHARACTERS or "\0" in request_id:
        allowed = f"1 to {MOST_CHARACTERS} characters, none of them NUL"
        raise InvalidValue("request_id", request_id[:MOST_CHARACTERS], allowed)
    if len(request_id) == 36 and request_id[14] == "7" and request_id.isascii():
        try:
            # Whatever reads as a number will do, as long as the same name gives the same one.
            return abs(int(request_id[:8] + request_id[9:13] + request_id[15:18], 16))
        except ValueError:
            pass
    try:
        return zlib.crc32(request_id.encode())
    except UnicodeEncodeError as error:
        raise InvalidValue("request_id", request_id, "valid Unicode") from error
