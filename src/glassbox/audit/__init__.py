"""What happened, who did it and when: append-only logs whose events hang on one another.

One log holds what people and programs did (``AuditLog``), the other every prediction and what
became of it (``InferenceStore``); ``AuditRing`` is the window of the latest ones.
"""

from glassbox.audit.events import Event, event_hash
from glassbox.audit.feature_hash import FeatureHasher, open_hasher
from glassbox.audit.log import AuditLog, BrokenLink, Head, Verification
from glassbox.audit.request_ids import new_request_id
from glassbox.audit.ring import AuditRing
from glassbox.audit.store import InferenceStore
from glassbox.audit.summary import Summary

__all__ = [
    "AuditLog",
    "AuditRing",
    "BrokenLink",
    "Event",
    "FeatureHasher",
    "Head",
    "InferenceStore",
    "Summary",
    "Verification",
    "event_hash",
    "new_request_id",
    "open_hasher",
]
