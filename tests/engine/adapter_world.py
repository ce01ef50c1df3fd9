"""Adapters that are nothing but a digest and a size, for the tests of where they are."""

from collections import Counter
from dataclasses import dataclass

from glassbox.engine.lora.tiers import AdapterTiers

SIZES = {
    f"{letter}{'0' * 63}": size for letter, size in zip("abcdef", (1, 2, 3, 4, 5, 9), strict=True)
}
HOST, DEVICE = 7, 9


@dataclass(frozen=True, eq=False)
class Fake:
    digest: str
    n_bytes: int
    rank: int = 1


class World:
    """Tiers over fakes; counts what was read."""

    def __init__(self, host: int = HOST, device: int = DEVICE, upload=lambda weights: weights):
        self.read: Counter[str] = Counter()
        self.before_read = lambda _digest: None
        self.dropped: list[int] = []
        self.tiers: AdapterTiers[Fake] = AdapterTiers(
            host_bytes=host, device_bytes=device, upload=upload, dropped=self.dropped.append
        )

    def register(self, name: str, digest: str) -> None:
        def load() -> Fake:
            self.before_read(digest)
            self.read[digest] += 1
            return Fake(digest, SIZES[digest])

        self.tiers.register(name, Fake(digest, SIZES[digest]), load)

    def tier(self, name: str) -> str:
        return next(each.tier for each in self.tiers.infos() if each.name == name)


A, B, C, D, E, F = SIZES


def world_with(*digests: str, **options) -> World:
    world = World(**options)
    for digest in digests:
        world.register(digest[0], digest)
    return world
