"""A deployment from its settings: what it is made of, what is to be done, what is there.

The one way in for the command line and for programs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glassbox.deploy.bundle import opened
from glassbox.deploy.prices import SHIPPED, Prices
from glassbox.deploy.sagemaker.aws import Aws, checked_region, connect
from glassbox.deploy.sagemaker.desired import Desired, desired
from glassbox.deploy.sagemaker.going_back import going_back
from glassbox.deploy.sagemaker.naming import Names
from glassbox.deploy.sagemaker.observed import Observed, Wanted, observe
from glassbox.deploy.sagemaker.parts import (
    PackedAdapter,
    Parts,
    Served,
    Store,
    adapters_of,
    pack_adapter,
)
from glassbox.deploy.sagemaker.plan import Plan, plan
from glassbox.deploy.sagemaker.removing import removal
from glassbox.deploy.sagemaker.service_model import available_regions, require
from glassbox.deploy.sagemaker.status import Status, status_of
from glassbox.deploy.sagemaker.storing import check_bucket, is_stored, stored_objects
from glassbox.settings import EndpointSettings


@dataclass(frozen=True)
class Ingredients:
    """What a deployment is made of, by where it lies."""

    bundle: Path
    """Folder or archive of the bundle that answers."""
    shadow: Path | None = None
    """Folder or archive of the bundle that gets copies of requests."""
    adapters: Mapping[str, Path] | None = None
    """Folders of further adapters that requests may name."""
    environment: Mapping[str, str] | None = None
    """Further variables of the container."""


def gather(settings: EndpointSettings, ingredients: Ingredients, scratch: Path) -> Parts:
    """Return what a deployment is made of, opened and checked.

    Args:
        settings: What the endpoint is to be like.
        ingredients: Where things lie.
        scratch: Folder for packed adapters; needed until they are put.

    Raises:
        UnknownName: There is no such bundle.
        CorruptArtifact: A file is damaged or missing.
        AdapterMismatch: An adapter was made for another base model.
    """
    served = _opened(ingredients.bundle)
    given = dict(ingredients.adapters or {})
    if settings.components:
        # Components take adapters from archives; those of the bundle become archives, too.
        given = {**dict(adapters_of(served)), **given}
    packed: list[PackedAdapter] = [
        pack_adapter(name, folder, served.bundle, scratch) for name, folder in given.items()
    ]
    shadow = None if ingredients.shadow is None else _opened(ingredients.shadow)
    return Parts(served, shadow, tuple(packed), ingredients.environment)


def wished(settings: EndpointSettings, parts: Parts, region: str) -> Desired:
    """Return what is to be, every request held against AWS's description of its services.

    Raises:
        InvalidValue: A setting is missing, wrong, or does not go with another.
    """
    wish = desired(settings, parts, region)
    for call in wish.calls:
        require(call)
    return wish


def planned(
    settings: EndpointSettings, parts: Parts, aws: Aws, *, prices: Prices = SHIPPED
) -> Plan:
    """Return what is left to do.

    Args:
        settings: What the endpoint is to be like.
        parts: What it is made of.
        aws: Where.
        prices: What an hour of an instance costs.

    Raises:
        GlassboxError: Something is wrong with the wish, in the way, or AWS refuses to say.
    """
    wish = wished(settings, parts, aws.region)
    models = frozenset(str(each.request["ModelName"]) for each in wish.models)
    there = observe(aws, wish.names, Wanted(frozenset({wish.config_name}), models))
    check_bucket(Store(settings).bucket, aws)
    last = [each.uploads[-1] for each in wish.puts]
    stored = frozenset(each.url for each in last if is_stored(each, aws))
    return plan(wish, there, stored=stored, prices=prices)


def planned_offline(
    settings: EndpointSettings, parts: Parts, region: str, *, prices: Prices = SHIPPED
) -> Plan:
    """Return what there would be to do in an account where nothing is; nobody is asked.

    Raises:
        UnknownName: AWS has no such region.
        InvalidValue: A setting is missing, wrong, or does not go with another.
    """
    checked_region(region, available_regions)
    return plan(wished(settings, parts, region), Observed(), prices=prices)


def status(settings: EndpointSettings, aws: Aws) -> Status:
    """Return how the deployment is."""
    names = Names(settings.name)
    return status_of(names, aws.region, observe(aws, names))


def way_back(
    settings: EndpointSettings, aws: Aws, to: str | None = None, *, prices: Prices = SHIPPED
) -> Plan:
    """Return the steps back to an earlier configuration (``going_back``)."""
    names = Names(settings.name)
    return going_back(names, aws.region, observe(aws, names), to, prices=prices)


def teardown(settings: EndpointSettings, aws: Aws, *, with_artifacts: bool = False) -> Plan:
    """Return the steps that remove the deployment.

    Args:
        settings: Its name, and where its artefacts are.
        aws: Where.
        with_artifacts: Whether bundles and adapters in the object store go, too.
    """
    names = Names(settings.name)
    there = observe(aws, names)
    objects = None
    if with_artifacts:
        store = Store(settings)
        objects = [
            url
            for prefix in (store.bundles, store.adapters)
            for url in stored_objects(prefix, settings.name, aws)
        ]
    return removal(names, aws.region, there, objects)


def signed_in(settings: EndpointSettings) -> Aws:
    """Return AWS as the settings and AWS's own configuration say (``aws.connect``)."""
    return connect(settings.region, settings.profile)


def _opened(path: Path) -> Served:
    bundle = opened(path)
    return Served(bundle.bundle, bundle.folder)
