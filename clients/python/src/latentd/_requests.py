"""Requests from keyword arguments. Names, ranges and defaults are those of proto/latentd/v1/generation.proto."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar

from google.protobuf import duration_pb2
from google.protobuf.message import Message

from .v1 import generation_pb2 as pb

#: Text, or token ids, which are taken as they are.
Prompt: TypeAlias = str | Sequence[int]
#: A conversation, oldest first: ChatMessages or mappings of their fields, {"role": "user", "content": "Hi"}. A text is
#: one message of the user.
Messages: TypeAlias = str | Sequence[pb.ChatMessage | Mapping[str, Any]]


class Parameters(TypedDict, total=False):
    """What generate() and chat() take beside their prompt. What is left out, or None, has the server's default."""

    model: str | None
    request_id: str | None
    # Sampling.
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repetition_penalty: float | None
    logit_bias: Mapping[int, float] | None
    allowed_token_ids: Sequence[int] | None
    bad_words: Sequence[str] | None
    seed: int | None
    n: int | None
    # Stopping.
    max_tokens: int | None
    min_tokens: int | None
    stop: str | Sequence[str] | None
    stop_token_ids: Sequence[int] | None
    include_stop: bool | None
    ignore_eos: bool | None
    # What many requests set of the groups below.
    priority: int | None
    # Whole groups.
    constraint: pb.Constraint | None
    output: pb.Output | None
    cache: pb.Cache | None
    scheduling: pb.Scheduling | None
    speculation: pb.Speculation | None


class GenerateParameters(Parameters, total=False):
    """What generate() takes beside Parameters."""

    safe_mode: bool | None
    add_special_tokens: bool | None


class TemplateParameters(TypedDict, total=False):
    """What the model's chat template is given, by chat() and tokenize_chat()."""

    tools: Sequence[pb.Tool] | None
    tool_choice: Literal["none", "auto", "required"] | pb.ToolChoice | None
    thinking: bool | None
    reasoning_effort: str | None
    template_options: pb.TemplateOptions | None
    add_generation_prompt: bool | None
    continue_final_message: bool | None
    safe_mode: bool | None


class ChatParameters(Parameters, TemplateParameters, total=False):
    """What chat() takes."""

    parallel_tool_calls: bool | None


class ScoreParameters(TypedDict, total=False):
    """What score() takes beside its prompt."""

    model: str | None
    request_id: str | None
    top_logprobs: int | None
    cache: pb.Cache | None
    scheduling: pb.Scheduling | None
    safe_mode: bool | None
    add_special_tokens: bool | None


Prompted = TypeVar("Prompted", pb.GenerateRequest, pb.ScoreRequest)
Filled = TypeVar("Filled", bound=Message)

# The group of each field that has a keyword of its own.
_GROUP_OF = {
    **{name: "sampling" for name in pb.Sampling.DESCRIPTOR.fields_by_name},
    **{name: "stopping" for name in pb.Stopping.DESCRIPTOR.fields_by_name},
    "priority": "scheduling", "thinking": "template_options", "reasoning_effort": "template_options",
}


def tool(name: str, description: str | None = None, parameters: Mapping[str, Any] | str | None = None) -> pb.Tool:
    """A function that the model may call; `parameters` is a JSON Schema, as an object or as text."""
    text = json.dumps(parameters, ensure_ascii=False) if isinstance(parameters, Mapping) else parameters
    return pb.Tool(name=name, description=description, parameters_json=text)


def tool_result(call: pb.ToolCall, content: str) -> pb.ChatMessage:
    """The message that answers a tool call."""
    return pb.ChatMessage(role="tool", tool_call_id=call.id, content=content)


def generate_request(prompt: Prompt, parameters: Mapping[str, Any]) -> pb.GenerateRequest:
    return _fill(_with_prompt(pb.GenerateRequest(), prompt), parameters)


def score_request(prompt: Prompt, parameters: Mapping[str, Any]) -> pb.ScoreRequest:
    return _fill(_with_prompt(pb.ScoreRequest(), prompt), parameters)


def chat_request(messages: Messages, parameters: Mapping[str, Any]) -> pb.ChatRequest:
    return _fill(pb.ChatRequest(messages=_chat_messages(messages)), parameters)


def chat_input(messages: Messages, parameters: Mapping[str, Any]) -> pb.ChatInput:
    return _fill(pb.ChatInput(messages=_chat_messages(messages)), parameters)


def takes_timeout(request: Message) -> bool:
    """It may carry a deadline and carries none yet."""
    return "scheduling" in request.DESCRIPTOR.fields_by_name and not _scheduling(request).HasField("timeout")


def set_timeout(request: Message, seconds: float) -> None:
    """Lets the server end the request at its deadline: only then its status says in which phase that was."""
    nanoseconds = int(seconds * 1e9)
    limit = duration_pb2.Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)
    _scheduling(request).timeout.CopyFrom(limit)


def _scheduling(request: Message) -> pb.Scheduling:
    group: pb.Scheduling = getattr(request, "scheduling")
    return group


def _chat_messages(messages: Messages) -> list[pb.ChatMessage]:
    if isinstance(messages, str):
        return [pb.ChatMessage(role="user", content=messages)]
    return [message if isinstance(message, pb.ChatMessage) else pb.ChatMessage(**message) for message in messages]


def _with_prompt(request: Prompted, prompt: Prompt) -> Prompted:
    if isinstance(prompt, str):
        request.text = prompt
    else:
        request.token_ids.CopyFrom(pb.TokenIds(ids=prompt))
    return request


def _plain(name: str, value: Any) -> Any:
    """As the message's constructor takes it."""
    if name == "stop" and isinstance(value, str):
        return [value]
    if name == "tool_choice" and isinstance(value, str):
        return pb.ToolChoice(mode=f"TOOL_CHOICE_MODE_{value.upper()}")
    return value


def _fill(message: Filled, parameters: Mapping[str, Any]) -> Filled:
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in parameters.items():
        group = "" if name in fields else _GROUP_OF.get(name, "")
        if name not in fields and group not in fields:
            raise TypeError(f"expected a parameter of {message.DESCRIPTOR.name} or of its groups, found {name}; "
                            "generation.proto lists them")
        if value is None:
            continue
        target = getattr(message, group) if group else message
        try:
            target.MergeFrom(type(target)(**{name: _plain(name, value)}))
        except (TypeError, ValueError) as mistake:
            wanted = f"{target.DESCRIPTOR.name}.{name}"
            raise TypeError(f"{name}: expected a value for {wanted} of generation.proto, found {value!r}; "
                            f"protobuf says: {mistake}") from mistake
    return message
