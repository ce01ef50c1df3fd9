"""How a call of a tool comes in and how its answer goes out, whatever the tool.

What a tool does not take is refused with what it takes: the SDK itself would leave it out, and an
agent that asks for page 99 would read the first one. Knows messages; knows no techniques.
"""

from typing import Any

import orjson
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult, TextContent, Tool
from pydantic import BaseModel, ValidationError

from glassbox.errors import GlassboxError, InvalidValue, UnknownName
from glassbox.techniques.agents.mcp_problems import problem_of


class StrictServer(MCPServer):
    """The SDK's server, which tells an agent what is wrong with its call, and what is right."""

    async def list_tools(self) -> list[Tool]:
        """Return the tools; their schemas say that nothing else is taken."""
        closed = {"additionalProperties": False}
        return [
            each.model_copy(update={"input_schema": each.input_schema | closed})
            for each in await super().list_tools()
        ]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool, or answer with why it cannot be called so."""
        tools = {each.name: each.input_schema["properties"] for each in await self.list_tools()}
        if name not in tools:
            return failed(problem_of(UnknownName("tool", name, tools)))
        unknown = [each for each in arguments if each not in tools[name]]
        if unknown:
            remedy = "Those of the technique go inside 'arguments'." * ("arguments" in tools[name])
            error = UnknownName(f"argument of {name}", unknown[0], tools[name], remedy=remedy)
            return failed(problem_of(error))
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            return failed(problem_of(_refusal(name, arguments, error.__cause__)))


def told(answer: BaseModel) -> CallToolResult:
    """Return an answer as the protocol carries it; fields that hold nothing are left out."""
    plain = answer.model_dump(mode="json", exclude_defaults=True)
    text = orjson.dumps(plain).decode()
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=plain)


def failed(problem: dict[str, Any], run: BaseModel | None = None) -> CallToolResult:
    """Return a problem, and the run that ended with it, as the protocol carries it."""
    plain: dict[str, Any] = {"error": problem}
    if run is not None:
        plain["run"] = run.model_dump(mode="json", exclude_defaults=True)
    text = f"error[{problem['code']}]: {problem['message']}"
    rest = {name: value for name, value in problem.items() if name not in ("code", "message")}
    if run is not None or rest:
        text += f"\n{orjson.dumps(rest | plain.get('run', {})).decode()}"
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=plain, is_error=True
    )


def _refusal(tool: str, arguments: dict[str, Any], error: ValidationError) -> GlassboxError:
    """Return the first of the problems that a schema finds, in the words of our other errors."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        given = sorted(arguments) or "none"
        return InvalidValue(f"arguments of {tool}", given, f"{where} as well")
    value = first["input"]
    shown = value if isinstance(value, bool | int | float) else repr(value)[:80]
    return InvalidValue(where, shown, first["msg"].removeprefix("Input should be "))
