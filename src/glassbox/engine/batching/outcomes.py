"""What rows are told at the end, and in which words where something went wrong.

Knows rows and errors; knows nothing of models or threads.
"""

from glassbox.engine.batching.row import Row
from glassbox.engine.model.devices import is_out_of_memory
from glassbox.engine.requests import Generation, Piece
from glassbox.errors import DeadlineExceeded, GlassboxError, IntegrityError, OutOfMemory

Outcome = Piece | Generation | Exception
"""What a row is told: a piece, its whole answer, or why there is none."""

Told = list[tuple[Row, Outcome]]


def too_late(row: Row, now_s: float) -> DeadlineExceeded:
    """Return the error of a request whose time was up before it had anything to show."""
    return DeadlineExceeded(
        f"No answer within the {row.request.deadline_s} s that the request allowed "
        f"({now_s - row.submitted_s:.1f} s have passed). Allow more time, or come back when the "
        "engine is less busy."
    )


def in_our_words(error: Exception) -> GlassboxError:
    """Return what a request is told where its step raised something, which is the cause."""
    if isinstance(error, GlassboxError):
        return error
    ours: GlassboxError
    if is_out_of_memory(error):
        ours = OutOfMemory(
            "This request does not fit into memory, even alone. Shorten it, choose a smaller model "
            "or number format, or free memory."
        )
    else:
        ours = IntegrityError(f"The model's step failed ({type(error).__name__}).")
    ours.__cause__ = error
    return ours


def is_for_want_of_memory(error: Exception) -> bool:
    """Return whether an error, ours or another's, means that memory did not suffice."""
    return isinstance(error, OutOfMemory) or is_out_of_memory(error)
