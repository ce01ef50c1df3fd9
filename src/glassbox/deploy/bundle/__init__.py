"""One described, hashed folder or archive that every target runs.

It holds a model reference, adapters, probes, classifiers with their calibrators, a verifier and
settings. Light: making one needs the model's libraries, looking at one needs none.
"""

from glassbox.artifacts import Part
from glassbox.deploy.bundle.archive import write_archive
from glassbox.deploy.bundle.contents import Contents, packable_settings
from glassbox.deploy.bundle.description import BUNDLE_FILE, Base, Bundle, Recorded
from glassbox.deploy.bundle.making import make_bundle
from glassbox.deploy.bundle.opening import Opened, opened
from glassbox.deploy.bundle.verifying import Fault, Verified, read_bundle, verify_bundle

__all__ = [
    "BUNDLE_FILE",
    "Base",
    "Bundle",
    "Contents",
    "Fault",
    "Opened",
    "Part",
    "Recorded",
    "Verified",
    "make_bundle",
    "opened",
    "packable_settings",
    "read_bundle",
    "verify_bundle",
    "write_archive",
]
