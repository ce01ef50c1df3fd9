"""What the server counts of requests for text, under vLLM's names with another prefix."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.worlds import fake_server, http_client

pytestmark = pytest.mark.anyio

VLLM = (
    "num_requests_running",
    "num_requests_waiting",
    "prompt_tokens_total",
    "generation_tokens_total",
    "prefix_cache_queries_total",
    "prefix_cache_hits_total",
    "request_success_total",
    "time_to_first_token_seconds_count",
    "request_time_per_output_token_seconds_count",
    "e2e_request_latency_seconds_count",
    "request_queue_time_seconds_count",
    "request_prompt_tokens_sum",
    "request_generation_tokens_sum",
)
"""Source: vLLM, ``vllm/v1/metrics/loggers.py``, without its ``vllm:``."""


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_the_names_are_vllms_and_the_numbers_those_of_the_answers():
    whole = {"glassbox": {"stop_at_end": False}}
    asked = [
        {"prompt": "hello", "max_tokens": 5, "seed": 1, **whole},
        {"prompt": ["a", "the positive"], "max_tokens": 3, "seed": 2, "n": 2, **whole},
    ]
    async with fake_server() as (_, app), http_client(app) as client:
        usages = [
            (await client.post("/v1/completions", json=each)).json()["usage"] for each in asked
        ]
        text = (await client.get("/metrics")).text

    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                name = sample.name.removeprefix("glassbox:")
                found[name] = found.get(name, 0.0) + sample.value
    assert set(VLLM) <= found.keys()
    n_texts = 1 + 2 * 2
    for name in VLLM:
        if name.endswith("_count") or name == "request_success_total":
            assert found[name] == n_texts, name
    n_written = sum(each["completion_tokens"] for each in usages)
    assert found["generation_tokens_total"] == found["request_generation_tokens_sum"] == n_written
    # Each text reads its prompt; a list of two with two texts each reads each prompt twice.
    n_read = usages[0]["prompt_tokens"] + 2 * usages[1]["prompt_tokens"]
    assert found["prompt_tokens_total"] == found["request_prompt_tokens_sum"] == n_read
    assert found["prefix_cache_queries_total"] == n_read
    assert found["num_requests_running"] == found["num_requests_waiting"] == 0


async def test_a_response_that_is_given_is_read_like_a_prompt():
    echo = {"prompt": "the positive", "max_tokens": 0, "echo": True, "logprobs": 1}
    layers = {"layers": [0], "pooling": ["norm"]}
    states = {"input": ["hello"], "responses": [" the"], "capture": layers}
    async with fake_server() as (_, app), http_client(app) as client:
        n_read = [
            (await client.post(path, json=body)).json()["usage"]["prompt_tokens"]
            for path, body in (("/v1/completions", echo), ("/v1/states", states))
        ]
        lines = (await client.get("/metrics")).text.splitlines()

    found = dict(
        line.split(" ") for line in lines if not line.startswith("#") and "le=" not in line
    )
    assert float(found['glassbox:prompt_tokens_total{model_name="fake"}']) == sum(n_read)
    assert float(found['glassbox:request_prompt_tokens_sum{model_name="fake"}']) == sum(n_read)
