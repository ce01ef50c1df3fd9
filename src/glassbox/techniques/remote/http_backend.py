"""Runs functions on a Glassbox server: the backend over HTTP.

Every request is signed. What is safe to repeat is repeated: questions always, a call because the
run's name is made here, so that a server that has it already answers with the same run. A run whose
server was restarted is ``lost``; a server that stays away is ``Unreachable``. Knows the wire.
"""

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote, urlsplit

import httpx
import numpy as np

from glassbox.client.calls import checked_key, web_address
from glassbox.client.problems import error_of, foreign, our_errors, retry_after_s, transport_error
from glassbox.errors import (
    AccessDenied,
    CapacityError,
    DeadlineExceeded,
    GlassboxError,
    InvalidValue,
    TechniqueFailed,
    UnknownName,
    Unreachable,
)
from glassbox.settings import load_settings
from glassbox.storage.signing_keys import SigningKey, signing_key
from glassbox.techniques.calls import (
    FINAL,
    Buffer,
    Call,
    Environment,
    ModelInfo,
    Packed,
    RemoteError,
    Run,
)
from glassbox.techniques.carrying.calls_and_runs import call_packed, packed_run, pieces_of
from glassbox.techniques.packed.framing import frame, unframe
from glassbox.techniques.protocol import Progress
from glassbox.techniques.remote.local_secret import read_secret, secret_path
from glassbox.techniques.remote.signing import EMPTY, body_digest, signed
from glassbox.wire.addresses import is_loopback
from glassbox.wire.techniques import (
    RUN_TYPE,
    EnvironmentAnswered,
    ResidentModelAnswered,
    SessionAnswered,
    SessionAsked,
    TechniqueListed,
    TechniquesAnswered,
)

PREFIX: Final = "/v1/techniques"
"""Path of all routes."""

LONGEST_WAIT_S: Final = 30.0
"""Longest wait for a run in one request; longer ones are several."""

PAUSES_S: Final = (0.1, 0.3, 1.0, 3.0)
"""Pauses between repetitions where a server does not answer."""

NOT_READY: Final = "not-ready"
"""Code of a server that still loads its model."""

READY_S: Final = 600.0
"""How long a server may load its model before ``start`` gives up."""

KEPT_S: Final = 4.0
"""Connections unused for longer are not used again: a server closes them after about 5 s."""


@dataclass(frozen=True)
class _Asked:
    """One request, to be signed anew whenever it is sent."""

    method: str
    path: str
    body: tuple[Buffer, ...] = ()
    content_type: str = ""
    wait_s: float = 0.0


class HttpBackend:
    """Techniques on a server.

    Args:
        url: Address of the server.
        api_key: A key with scope ``techniques``; None takes the secret file of a server on this
            machine.
        secret_file: That file; None finds it by the server's port.
        timeout_s: Seconds to wait for an answer beyond the wait that was asked for.
        verify_ssl: Whether the server's certificate is checked; a path names the authority.
        transport: How requests travel, for tests; None is the network.

    Raises:
        InvalidValue: The address is none, or a server on another machine without a key.
        UsageError: The key cannot be one.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        secret_file: Path | None = None,
        timeout_s: float = 30.0,
        verify_ssl: bool | str = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = web_address(url, "an address such as http://127.0.0.1:8787")
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        self._key = None if api_key is None else signing_key(checked_key(api_key))
        self._secret_file = secret_file
        if api_key is None and secret_file is None:
            if not is_loopback(host):
                raise InvalidValue(
                    "api_key",
                    None,
                    f"a key with scope 'techniques' for {host}, which is not this "
                    "machine (glassbox keys create NAME --scope techniques)",
                )
            folder = load_settings().techniques.folder
            port = parts.port or (443 if parts.scheme == "https" else 80)
            self._secret_file = secret_path(folder, port)
        self._timeout_s = timeout_s
        verify = httpx.create_ssl_context(verify=verify_ssl) if parts.scheme == "https" else False
        self._http = httpx.Client(
            base_url=self.url,
            verify=verify,
            transport=transport,
            # A signed request must not follow to somewhere else, nor go through a proxy unasked.
            follow_redirects=False,
            limits=httpx.Limits(max_connections=64, keepalive_expiry=KEPT_S),
        )

    def start(self, progress: Progress) -> None:
        """Wait until the server has its model.

        Raises:
            Unreachable: Nothing answers there, or it never gets ready.
            AccessDenied: The server runs no functions, or not for this key.
        """
        progress(f"Asking {self.url}", None)
        until_s = time.monotonic() + READY_S
        while True:
            try:
                self._json(_Asked("GET", f"{PREFIX}/model"))
            except CapacityError as error:
                if isinstance(error, Unreachable) or time.monotonic() > until_s:
                    raise
                progress(f"{self.url}: {error}", None)
                time.sleep(min(1.0, self._timeout_s))
            else:
                return

    def environment(self) -> Environment:
        """Return what shipped code meets over there."""
        found = EnvironmentAnswered.from_json(self._json(_Asked("GET", f"{PREFIX}/environment")))
        return Environment(found.python, dict(found.versions), tuple(found.modules))

    def model_info(self) -> ModelInfo:
        """Return the resident model."""
        found = ResidentModelAnswered.from_json(self._json(_Asked("GET", f"{PREFIX}/model")))
        return ModelInfo(**found.model_dump())

    def techniques(self) -> list[TechniqueListed]:
        """Return the techniques that are built into the server."""
        return TechniquesAnswered.from_json(self._json(_Asked("GET", PREFIX))).data

    def submit(self, call: Call, *, wait_s: float = 0.0) -> Run:
        """Take a call, and say what is known of it after at most ``wait_s``.

        Raises:
            GlassboxError: As ``Backend.submit``; ``Unreachable`` where no server answers.
        """
        run_id = f"run-{secrets.token_hex(16)}"
        body = tuple(frame(call_packed(call, run_id)))
        wait_s = min(wait_s, LONGEST_WAIT_S)
        asked = _Asked("POST", f"{PREFIX}/runs?wait_s={wait_s:g}", body, RUN_TYPE, wait_s)
        try:
            return self._run(asked, n_repeats=0)
        except (Unreachable, DeadlineExceeded) as broken:
            # What a server has answered is the answer, also where it says that its worker is away.
            if not _is_transports(broken) or (
                isinstance(broken, Unreachable) and broken.never_arrived
            ):
                raise
            # It may have arrived or not. Only who asks by its name knows, and does no harm.
            try:
                return self._known(run_id, wait_s=wait_s)
            except UnknownName:
                return self._run(asked, n_repeats=0)
            except Unreachable as away:
                if not _is_transports(away):
                    raise
                raise broken from None

    def run(self, run_id: str, *, after: int = 0, wait_s: float = 0.0) -> Run:
        """Return what is known of a run, waiting for a new line or its end.

        Raises:
            Unreachable: No server answers, after a few repetitions.
        """
        try:
            return self._known(run_id, after=after, wait_s=wait_s)
        except UnknownName as error:
            reason = f"The server at {self.url} does not know it. {error}"
            kind = f"{TechniqueFailed.__module__}.{TechniqueFailed.__qualname__}"
            gone = RemoteError(kind, reason, "", code=TechniqueFailed.code)
            return Run(run_id, "lost", error=gone)

    def _known(self, run_id: str, *, after: int = 0, wait_s: float = 0.0) -> Run:
        until_s = time.monotonic() + wait_s
        while True:
            left_s = max(0.0, min(until_s - time.monotonic(), LONGEST_WAIT_S))
            path = f"{PREFIX}/runs/{quote(run_id, safe='')}?after={after}&wait_s={left_s:.3f}"
            run = self._run(_Asked("GET", path, wait_s=left_s))
            if run.status in FINAL or run.lines or time.monotonic() >= until_s:
                return run

    def result(self, run_id: str) -> Packed:
        """Return the packed result of a run; answers once.

        Raises:
            UnknownName: No such run, or its result was given away already.
            ConflictError: The run did not succeed, or has not ended.
        """
        path = f"{PREFIX}/runs/{quote(run_id, safe='')}/result"
        with our_errors(self.url):
            return unframe(self._answer(_Asked("GET", path)))

    def cancel(self, run_id: str) -> None:
        """Ask a run to end; one that never was has ended."""
        with contextlib.suppress(UnknownName):
            self._answer(_Asked("POST", f"{PREFIX}/runs/{quote(run_id, safe='')}/cancel"))

    def open_session(self, *, caller: str = "", idle_s: float | None = None) -> str:
        """Return the id of a session."""
        body = SessionAsked(caller=caller, idle_s=idle_s).model_dump_json().encode()
        asked = _Asked("POST", f"{PREFIX}/sessions", (body,), "application/json")
        return SessionAnswered.from_json(self._json(asked)).session

    def close_session(self, session: str) -> None:
        """End a session."""
        self._answer(_Asked("DELETE", f"{PREFIX}/sessions/{quote(session, safe='')}"))

    def close(self) -> None:
        """Close the connections; idempotent."""
        self._http.close()

    def _json(self, asked: _Asked) -> bytes:
        return bytes(self._answer(asked))

    def _run(self, asked: _Asked, *, n_repeats: int = len(PAUSES_S)) -> Run:
        content = self._answer(asked, n_repeats=n_repeats)
        with our_errors(self.url):
            if bytes(content[:1]) == b"{":
                raise foreign("a run came as JSON; this client asks for frames")
            return packed_run(unframe(content))

    def _answer(self, asked: _Asked, *, n_repeats: int = len(PAUSES_S)) -> memoryview:
        """Return the body of a success, after repetitions where nobody answered."""
        has_new_secret = False
        n_done = 0
        until_s = time.monotonic() + self._timeout_s
        while True:
            try:
                found = self._sent(asked)
                if isinstance(found, memoryview):
                    return found
                # A server that is loading its model has begun nothing.
                if time.monotonic() + found > until_s:
                    raise CapacityError(f"{self.url} is still loading its model, or about to end.")
                time.sleep(found)
            except Unreachable:
                if n_done >= n_repeats:
                    raise
                time.sleep(PAUSES_S[n_done])
                n_done += 1
            except AccessDenied:
                # A server that was restarted has a new secret in its file.
                if self._secret_file is None or has_new_secret or not self._is_renewed():
                    raise
                has_new_secret = True

    def _is_renewed(self) -> bool:
        before, self._key = self._key, None
        return before is None or self._signing_key().id != before.id

    def _signing_key(self) -> SigningKey:
        if self._key is None:
            assert self._secret_file is not None
            secret = read_secret(self._secret_file)
            if secret is None and self._answers():
                # It takes connections before its secret is written, and answers them after.
                secret = read_secret(self._secret_file)
            if secret is None:
                raise Unreachable(
                    f"No server of this account runs functions at {self.url}: there is no "
                    f"{self._secret_file}. Start one with 'glassbox serve --techniques process', "
                    "or give an api_key (--key)."
                )
            self._key = signing_key(secret)
        return self._key

    def _answers(self) -> bool:
        """Whether anybody answers there; one that is starting is waited for."""
        try:
            self._http.get("/livez", timeout=self._timeout_s)
        except httpx.TransportError:
            return False
        return True

    def _sent(self, asked: _Asked) -> memoryview | float:
        """Return the body of a success, or seconds after which a server may be ready to answer."""
        request = self._http.build_request(
            asked.method,
            asked.path,
            # Tensors hardly shrink, and packing them takes longer than sending them.
            headers={"accept": f"{RUN_TYPE}, application/json", "accept-encoding": "identity"},
            content=_pieces(asked.body) if asked.body else None,
            timeout=httpx.Timeout(self._timeout_s, read=self._timeout_s + asked.wait_s),
        )
        if asked.body:
            request.headers["content-type"] = asked.content_type
            request.headers["content-length"] = str(sum(map(len, asked.body)))
            request.headers.pop("transfer-encoding", None)
        request.headers["authorization"] = signed(
            self._signing_key(),
            asked.method,
            request.url.raw_path.decode("ascii"),
            now_s=time.time(),
            body=body_digest(asked.body) if asked.body else EMPTY,
        )
        with our_errors(self.url):
            response = self._send(request)
            try:
                if response.is_success:
                    return _body(response)
                response.read()
                if response.headers.get("x-glassbox-error") == NOT_READY:
                    return retry_after_s(response) or PAUSES_S[-1]
                raise error_of(response)
            finally:
                response.close()

    def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._http.send(request, stream=True)
        except httpx.TimeoutException as error:
            slow = Unreachable(
                f"{self.url} did not answer within {self._timeout_s:g} s. Is it still there? Give "
                "a longer timeout_s where it may be that busy."
            )
            slow.never_arrived = isinstance(error, _UNSENT)
            raise slow from error
        except _UNSENT as error:
            away = transport_error(error, self.url)
            if isinstance(away, Unreachable):
                away.never_arrived = True
            raise away from error


_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Errors after which nothing of a request has left this machine."""


def _is_transports(error: GlassboxError) -> bool:
    """Whether it is unknown what a server made of a request: none of its words came back."""
    return isinstance(error.__cause__, httpx.TransportError)


def _pieces(body: tuple[Buffer, ...]) -> Iterator[bytes]:
    # The connection takes any buffer, and copies none of them whole.
    yield from cast(Iterator[bytes], pieces_of(body))


def _body(response: httpx.Response) -> memoryview:
    """Return the body of an answer in one piece of memory, which tensors may keep as theirs."""
    if "content-length" not in response.headers:
        # Something on the way has cut it into pieces of its own.
        return memoryview(bytearray().join(response.iter_raw()))
    n_bytes = int(response.headers["content-length"])
    # Not filled with zeros first, as a bytearray would be.
    body = np.empty(n_bytes, dtype=np.uint8).data.cast("B")
    at = 0
    for chunk in response.iter_raw():
        if at + len(chunk) > n_bytes:
            raise foreign("it is longer than it said")
        body[at : at + len(chunk)] = chunk
        at += len(chunk)
    return body[:at]
