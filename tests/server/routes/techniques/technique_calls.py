"""Calls of techniques, as a client packs them."""

import hashlib
import time

from glassbox.storage.signing_keys import signing_key
from glassbox.techniques.calls import Call, Packed, Shipment
from glassbox.techniques.remote.local_secret import read_secret
from glassbox.techniques.remote.signing import EMPTY, signed

ARGUMENTS = Packed(b"[[],{}]")
PAYLOAD = b"a function"
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()


def call(technique="library:logit_lens", name="waits", **more):
    return Call(technique, name, ARGUMENTS, **more)


def shipped(payload=PAYLOAD, **more):
    digest = hashlib.sha256(payload).hexdigest()
    shipment = Shipment("fn", digest, payload, "def fn(): ...", ("mine",), ("math",))
    return call(digest, shipment=shipment, **more)


def authorised(world, method, target, *, body=EMPTY, now_s=None, secret=None, nonce=None):
    key = signing_key(secret or read_secret(world.secret_file))
    now_s = time.time() if now_s is None else now_s
    return {"authorization": signed(key, method, target, now_s=now_s, body=body, nonce=nonce)}
