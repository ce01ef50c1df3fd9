"""What happened, who did it and when: an append-only log whose events hang on one another."""

from glassbox.audit.events import Event, event_hash
from glassbox.audit.log import AuditLog, BrokenLink, Head, Verification

__all__ = ["AuditLog", "BrokenLink", "Event", "Head", "Verification", "event_hash"]
