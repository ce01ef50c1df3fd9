"""An invocation's answer in parts: a line of JSON for each step, the whole answer in the last.

SageMaker hands the bytes on as they come, in parts of its own making: lines are what holds them
together. Knows nothing of HTTP.
"""

from collections.abc import AsyncIterator
from typing import Final

from anyio import to_thread

from glassbox.engine.requests import Piece
from glassbox.errors import GlassboxError
from glassbox.server.concurrency.event_stream import EventStream
from glassbox.server.concurrency.tickets import Running
from glassbox.server.sagemaker.invocations import Invocation, invocation_answered, sampled_probs
from glassbox.server.translation.speech import check_ended
from glassbox.wire.sagemaker import NDJSON_TYPE, InvocationFault, InvocationLine

WAITING: Final = b"\n"
"""An empty line, which readers pass over: connections are cut in which nothing comes for long."""


class LineStream(EventStream):
    """A response of lines that is written while it comes about."""

    media_type = NDJSON_TYPE


async def lines(asked: Invocation, running: Running) -> AsyncIterator[bytes]:
    """Yield the lines of an answer, an error in the middle included.

    Args:
        asked: The request.
        running: It has been handed to the engine.
    """
    sent = ""
    try:
        async for each in running.events():
            if each.piece is not None:
                sent += each.piece.text
                yield line(_step(asked, each.piece))
            elif each.answer is not None:
                final = invocation_answered(asked, check_ended(each.answer))
                rest = final.generated_text[len(sent) :]
                if rest:
                    yield line(InvocationLine(text=rest))
                # With its states it takes a while to write down: the event loop does not wait.
                yield await to_thread.run_sync(line, InvocationLine(final=final))
            else:
                yield WAITING
    except GlassboxError as error:
        yield line(InvocationLine(error=InvocationFault(code=error.code, message=str(error))))


def line(content: InvocationLine) -> bytes:
    """Return one line of a stream."""
    return content.to_json() + b"\n"


def _step(asked: Invocation, piece: Piece) -> InvocationLine:
    probs = sampled_probs(piece.tokens) if asked.asked.parameters.return_probs else None
    return InvocationLine(text=piece.text, generation_probs=probs)
