"""The kinds of requests that a load is made of, each sent to the engine in the engine's own way."""

import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from benchmarks.apparatus.flights import Pending, Start, Times
from benchmarks.apparatus.model import LABELS, sentences, workload
from glassbox.engine.requests import Request, Sampling, Ticket
from glassbox.engine.resident import ResidentEngine
from glassbox.types import Capture, HookPoint

BOS = 0
READ = Capture(
    tuple(HookPoint(layer) for layer in (-1, -4, -8)), ("mean", "last", "norm"), "generated"
)
"""What verifying looks at beside probabilities and entropies."""
CLASSIFY_THREADS = 4
"""Source: as many calls at a time as the server lets through to the model."""


class Works:
    """Requests over sentences in a seeded order; none comes twice within some thousand.

    Args:
        engine: Who answers.
    """

    def __init__(self, engine: ResidentEngine) -> None:
        self._engine = engine
        texts = sentences("train")
        random.Random(0).shuffle(texts)
        self._prompts = [(BOS, *ids) for ids in engine.codec.encode(texts, special=False)]
        work = workload(engine.codec.tokenizer, 1)
        self._instruction = work.prompts[0][: work.n_instruction]
        self._labels = engine.codec.encode(LABELS, special=False)
        self._pool = ThreadPoolExecutor(CLASSIFY_THREADS)
        self.device = torch.device(engine.info.device)
        self.mean_prompt = sum(map(len, self._prompts)) / len(self._prompts)
        """Tokens of a prompt, without the instruction of classifying."""

    def write(self, n_new: int) -> Start:
        """Return what has so many tokens written, greedily."""
        sampling = Sampling(max_tokens=n_new, temperature=0.0, stop_at_end=False)
        return lambda index: _Asked(
            self._engine.submit(Request(self._prompt(index), sampling=sampling))
        )

    def read(self, n_given: int) -> Start:
        """Return what has a response of so many tokens read, states of three layers captured."""

        def start(index: int) -> Pending:
            response = tuple(
                token
                for ahead in range(1, n_given + 1)
                for token in self._prompt(index + ahead)[1:]
            )[:n_given]
            request = Request(self._prompt(index), response=response, capture=READ)
            return _Asked(self._engine.submit(request))

        return start

    def classify(self, index: int) -> Pending:
        """Send a sentence to be given one of two labels, behind an instruction all share."""
        prompt = (*self._instruction, *self._prompt(index)[1:])
        return _Called(self._pool, lambda: self._engine.logprobs([prompt], self._labels))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _prompt(self, index: int) -> tuple[int, ...]:
        return self._prompts[index % len(self._prompts)]


class _Asked:
    """A request in the running batch."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self.cancel = ticket.cancel
        self.when_done = ticket.when_done

    def times(self) -> Times:
        answer = self._ticket.result().whole()
        return Times(answer.queued_s, answer.first_token_s)


class _Called:
    """A call on a thread."""

    def __init__(self, pool: ThreadPoolExecutor, call: Callable[[], object]) -> None:
        self._sent_s = time.perf_counter()
        self._call = call
        self._future: Future[Times] = pool.submit(self._run)

    def _run(self) -> Times:
        begun_s = time.perf_counter() - self._sent_s
        self._call()
        return Times(begun_s, time.perf_counter() - self._sent_s)

    def times(self) -> Times:
        return self._future.result()

    def cancel(self) -> None:
        self._future.cancel()

    def when_done(self, call: Callable[[], None]) -> None:
        self._future.add_done_callback(lambda _: call())
