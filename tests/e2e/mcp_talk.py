"""What an agent over MCP does and reads, whichever way it came."""

import json


def told(result):
    """The structured answer, which the text repeats for agents that read text only."""
    assert not result.is_error, result.content[0].text
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content


def refused(result):
    assert result.is_error
    error = result.structured_content["error"]
    assert result.content[0].text.startswith(f"error[{error['code']}]: ")
    return error


async def use_it_all(session):
    """What an agent does: look around, run something, read the result, follow it up."""
    listed = told(await session.call_tool("list_techniques"))
    assert {"logit_lens", "token_surprisal"} <= {each["name"] for each in listed["techniques"]}

    described = told(await session.call_tool("describe_technique", {"name": "logit_lens"}))
    assert described["arguments"][0]["name"] == "text"
    assert described["arguments"][0]["required"]
    assert "n_layers" in json.dumps(described["result"])

    model = told(await session.call_tool("model_info"))
    assert (model["n_layers"], model["vocab_size"]) == (8, 2048)

    words = {"name": "logit_lens", "arguments": {"text": "The waiters were superb"}, "wait_s": 60}
    run = told(await session.call_tool("run_technique", words))
    assert run["status"] == "succeeded"
    assert run["result"]["fields"]["entropy"]["shape"][0] == 8
    assert run["run_seconds"] > 0

    page = told(
        await session.call_tool(
            "fetch_result", {"run_id": run["run_id"], "path": "entropy[-1]", "count": 3}
        )
    )
    assert page["kind"] == "tensor"
    assert len(page["items"]) == 3
    assert page["next_offset"] == 3
    assert told(await session.call_tool("list_runs"))["runs"][0]["technique"] == "logit_lens"
    return listed
