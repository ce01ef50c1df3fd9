"""``/v1/states``: hidden states of given texts, as JSON or safetensors.

Knows the wire and tickets; the route adds who asks and which form is wanted.
"""

from glassbox.engine.requests import Generation, Request
from glassbox.server.concurrency.tickets import Running
from glassbox.server.translation.readings import states_answered
from glassbox.server.translation.speech import Speaker, Terms
from glassbox.server.translation.state_sizes import MAX_JSON_STATES_BYTES, check_states
from glassbox.wire.extension import GlassboxAsked
from glassbox.wire.openai_sampling import Usage
from glassbox.wire.states import (
    DETAILS_KEY,
    StatesAsked,
    StatesListAnswered,
    TextStates,
    tensor_name,
)
from glassbox.wire.tensors import to_safetensors


class StateReading:
    """One request for hidden states.

    Args:
        speaker: The resident model.
        asked: The request.
        most_bytes: Most bytes of states in the answer.
    """

    def __init__(
        self, speaker: Speaker, asked: StatesAsked, *, most_bytes: int = MAX_JSON_STATES_BYTES
    ) -> None:
        self._speaker = speaker
        self._asked = asked
        self._most_bytes = most_bytes

    async def read(self, running: Running, terms: Terms) -> StatesListAnswered:
        """Return the states of every text.

        Args:
            running: Takes the requests.
            terms: On whose behalf, and how long they may take.

        Raises:
            GlassboxError: The request is refused, or one of its texts failed.
        """
        requests = await running.submit(lambda: self._requests(terms))
        answers = [answer.whole() for answer in await running.answers()]
        data = [
            self._text(index, request, answer)
            for index, (request, answer) in enumerate(zip(requests, answers, strict=True))
        ]
        n_tokens = sum(each.n_tokens for each in data)
        info = self._speaker.engine.info
        return StatesListAnswered(
            model=self._asked.model or self._speaker.name,
            model_digest=info.digest,
            adapter_digest=answers[0].adapter_digest,
            data=data,
            usage=Usage(prompt_tokens=n_tokens, completion_tokens=0, total_tokens=n_tokens),
        )

    def _requests(self, terms: Terms) -> list[Request]:
        asked, speaker = self._asked, self._speaker
        shown = GlassboxAsked(
            capture=asked.capture, probes=asked.probes, deadline_s=asked.deadline_s
        )
        responses = asked.responses or [""] * len(asked.texts)
        requests = []
        for text, response in zip(asked.texts, responses, strict=True):
            prompt = speaker.prompter.plain(text)
            given = speaker.prompter.given_response(response) if response else ()
            requests.append(speaker.reading(prompt, given, shown, asked.model, terms))
        check_states(requests, speaker.engine.info.d_model, self._most_bytes)
        return requests

    def _text(self, index: int, request: Request, answer: Generation) -> TextStates:
        asked, n_layers = self._asked, self._speaker.engine.info.n_layers
        return TextStates(
            index=index,
            n_tokens=answer.n_prompt - request.n_hidden + len(answer.tokens.token_ids),
            states=[states_answered(each, n_layers) for each in answer.states],
            probes=self._speaker.read_probes(answer, asked.probes, request)
            if asked.probes
            else None,
        )


def states_as_safetensors(answer: StatesListAnswered) -> bytes:
    """Return the answer as safetensors: arrays by name, everything else as JSON metadata."""
    arrays, texts = {}, []
    for text in answer.data:
        bare = []
        for states in text.states:
            forms = {
                form: array
                for form in ("mean", "last", "none")
                if (array := getattr(states, form)) is not None
            }
            for form, array in forms.items():
                arrays[tensor_name(text.index, states, form)] = array
            bare.append(states.model_copy(update=dict.fromkeys(forms)))
        texts.append(text.model_copy(update={"states": bare}))
    details = answer.model_copy(update={"data": texts})
    return to_safetensors(arrays, {DETAILS_KEY: details.to_json().decode()})
