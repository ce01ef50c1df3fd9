"""Who goes on, who gives way, and who reads how much of a step: decisions on rows, by client.

Rows and prompt tokens of a step are shared so that whoever waits holds fewest: while a client waits
for a row, nobody holds two more than it does (max-min fairness). A client that is alone has all.
No torch, no threads, no clock. Source: Bertsekas and Gallager, Data Networks, 1992, section 6.5.2;
per client and token by token as in Sheng et al. 2024 (arXiv 2401.00588), but with rows that pause.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from glassbox.engine.batching.row import Row

Claim = tuple[int, int]
"""A row's priority and how many rows its client has in the batch: the smaller one goes first."""


def held_by(rows: Iterable[Row]) -> Counter[str]:
    """Return how many of some rows each client has."""
    return Counter(row.request.client for row in rows)


def claim(row: Row, held: Counter[str]) -> Claim:
    """Return what decides whether a row goes before others.

    Args:
        row: It waits.
        held: Rows in the batch, by client.
    """
    return row.request.priority, held[row.request.client]


def first_to_give(rows: Iterable[Row], held: Counter[str]) -> Row:
    """Return the row that gives way first: the youngest of the client that has most.

    Args:
        rows: One or more of the batch.
        held: Rows in the batch, by client.
    """
    return max(rows, key=lambda row: (*claim(row, held), row.begun_s or 0.0))


def in_the_way(
    new: Row, rows: Sequence[Row], fits: Callable[[Sequence[Row]], bool]
) -> list[Row] | None:
    """Return the rows that give way so that a new one fits; None where they are too few.

    A row gives way to one of a lower priority number, and to one of the same whose client holds
    at least two rows fewer than its own: it is never asked to give way back.

    Args:
        new: It waits.
        rows: The batch.
        fits: Whether the new one fits beside some of them.
    """
    held, stay, leave = held_by(rows), list(rows), []
    while not fits(stay):
        priority, n_held = claim(new, held)
        able = [row for row in stay if claim(row, held) > (priority, n_held + 1)]
        if not able:
            return None
        giver = first_to_give(able, held)
        stay.remove(giver)
        leave.append(giver)
        held[giver.request.client] -= 1
    return leave


def readers(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the rows that read prompts, by client: whoever has least to read first, oldest first.

    If each client in turn may take an equal part of what is left of a step, nobody gets less than
    an equal part of the whole or all it wants, and nothing is left while somebody wants it.
    """
    clients: dict[str, list[Row]] = {}
    for row in rows:
        if row.n_left > 1:
            clients.setdefault(row.request.client, []).append(row)
    for each in clients.values():
        each.sort(key=lambda row: row.begun_s or 0.0)
    return sorted(clients.values(), key=lambda each: sum(row.n_left for row in each))


def has_enough_to_read(
    new: Row, rows: Iterable[Row], n_tokens: int, n_reads: int, most: Callable[[Row], int]
) -> bool:
    """Return whether a row's client has its part of a step's reading without that row.

    Args:
        new: It waits.
        rows: The batch.
        n_tokens: Prompt tokens that the step may read.
        n_reads: Positions that may be read out in it.
        most: Tokens that a row can take in one step.
    """
    reading = [row for row in rows if row.n_left > 1]
    own = [row for row in reading if row.request.client == new.request.client]
    n_clients = len(held_by([*reading, new]))
    return sum(most(row) for row in own) >= max(1, n_tokens // n_clients) or sum(
        len(row.part(row.n_left).reads) for row in own
    ) >= max(1, n_reads // n_clients)
