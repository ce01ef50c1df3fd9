"""A definition as Modal's own objects: image, class, app.

Making them needs neither network nor token. The class is made in a function, so Modal ships it by
value together with this package; it has no parameters, because Modal keeps a pool of containers,
each with the base model, for every value of one. An adapter is named by each request.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from glassbox.deploy.modal.container import ServerResidence
from glassbox.deploy.modal.definition import CLASS_NAME, Definition
from glassbox.techniques.remote.modal_account import modal_errors
from glassbox.techniques.remote.modal_image import base_image, modal_library, with_this_package


@dataclass(frozen=True, eq=False)
class ServerApp:
    """An app, ready to be deployed or tried here."""

    app: Any
    """The ``modal.App``."""
    server: Any
    """The ``modal.Cls`` whose containers are servers."""


def modal_app(definition: Definition) -> ServerApp:
    """Return a definition as Modal's own objects; nothing is sent anywhere.

    Args:
        definition: What there will be.

    Raises:
        DependencyMissing: Modal is not installed.
        GlassboxError: Modal refuses a value.
    """
    modal = modal_library()
    app = modal.App(definition.app)
    options = {
        **definition.options,
        "image": with_this_package(base_image(extras=definition.extras)),
        "volumes": {
            place: modal.Volume.from_name(name, create_if_missing=True)
            for place, name in definition.volumes.items()
        },
        "secrets": [
            modal.Secret.from_name(each.name, required_keys=list(each.keys))
            for each in definition.secrets
        ],
        "serialized": True,
    }
    made = _server_class(modal, definition)
    with modal_errors(definition.app, "Deploy it first"):
        concurrent = modal.concurrent(**definition.concurrency)(made)
        return ServerApp(app, app.cls(**options)(concurrent))


def _server_class(modal: ModuleType, definition: Definition) -> type:
    """Return the class that Modal runs; it carries the plan with it."""
    plan = definition.plan.to_json()

    class Server:
        def load(self) -> None:
            self.residence = ServerResidence(plan)
            self.residence.load()

        def settle(self) -> None:
            # Without a snapshot nothing was loaded before.
            self.residence = getattr(self, "residence", None) or ServerResidence(plan)
            self.residence.settle()

        def web(self) -> Any:
            return self.residence.app

        def leave(self) -> None:
            self.residence.close()

    marks = {
        "settle": modal.enter(),
        "web": modal.asgi_app(label=definition.app),
        "leave": modal.exit(),
    }
    if definition.plan.has_snapshot:
        marks["load"] = modal.enter(snap=True)
    for name, mark in marks.items():
        setattr(Server, name, mark(vars(Server)[name]))
    assert Server.__name__ == CLASS_NAME
    return Server
