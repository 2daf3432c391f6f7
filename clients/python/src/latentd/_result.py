"""What a generation gave, put together from its events."""
from __future__ import annotations

import dataclasses
import enum

from .v1 import generation_pb2 as pb


class EndReason(enum.StrEnum):
    """Why an answer ended."""

    EOS = "EOS"
    STOP_STRING = "STOP_STRING"
    STOP_TOKEN = "STOP_TOKEN"
    MAX_TOKENS = "MAX_TOKENS"
    CONTEXT_LIMIT = "CONTEXT_LIMIT"
    CONSTRAINT_COMPLETE = "CONSTRAINT_COMPLETE"
    #: A reason that this client does not know; the server is newer.
    UNKNOWN = "UNKNOWN"

    @classmethod
    def _missing_(cls, value: object) -> EndReason:
        return cls.UNKNOWN


@dataclasses.dataclass
class Answer:
    """One of a request's answers, as far as it came."""

    index: int
    text: str = ""
    reasoning: str = ""
    #: Calls of tools that the model made. `arguments_json` is what it wrote, which need not be whole JSON.
    tool_calls: list[pb.ToolCall] = dataclasses.field(default_factory=list)
    token_ids: list[int] = dataclasses.field(default_factory=list)
    token_bytes: list[bytes] = dataclasses.field(default_factory=list)
    logprobs: list[pb.TokenLogprobs] = dataclasses.field(default_factory=list)
    #: Tokens generated, whether or not they have text.
    output_tokens: int = 0
    #: None: it has not ended.
    end_reason: EndReason | None = None
    #: What matched: for STOP_STRING, and for STOP_TOKEN and EOS.
    stop_string: str | None = None
    stop_token_id: int | None = None

    def message(self) -> pb.ChatMessage:
        """This answer as the assistant's turn in the history of the next chat()."""
        message = pb.ChatMessage(role="assistant", reasoning=self.reasoning, tool_calls=self.tool_calls)
        if self.text or not self.tool_calls:
            message.content = self.text
        return message

    def _add(self, delta: pb.Delta) -> None:
        self.text += delta.text
        self.reasoning += delta.reasoning
        self.token_ids.extend(delta.token_ids)
        self.token_bytes.extend(delta.token_bytes)
        self.logprobs.extend(delta.logprobs)
        self.output_tokens = delta.tokens_so_far
        for fragment in delta.tool_calls:
            if fragment.index == len(self.tool_calls):
                self.tool_calls.append(pb.ToolCall(id=fragment.id, name=fragment.name, arguments_json=""))
            self.tool_calls[fragment.index].arguments_json += fragment.arguments_json_fragment

    def _end(self, end: pb.SequenceEnd) -> None:
        self.output_tokens = end.output_tokens
        name = pb.EndReason.DESCRIPTOR.values_by_number.get(end.reason)
        self.end_reason = EndReason(name.name.removeprefix("END_REASON_") if name is not None else "")
        if end.reason == pb.END_REASON_STOP_STRING:
            self.stop_string = end.stop_string
        if end.HasField("stop_token_id"):
            self.stop_token_id = end.stop_token_id


@dataclasses.dataclass
class Result:
    """All that a generation gave. `text` and what follows it are those of the first answer."""

    #: What the server made of the request: id, resolved parameters, seed, fingerprint. None: nothing came yet.
    started: pb.Started | None = None
    #: By index, as many as sampling.n asks for.
    answers: list[Answer] = dataclasses.field(default_factory=lambda: [Answer(0)])
    usage: pb.Usage = dataclasses.field(default_factory=pb.Usage)
    timings: pb.Timings = dataclasses.field(default_factory=pb.Timings)
    #: Every answer ended, and usage and timings came.
    is_complete: bool = False

    @property
    def text(self) -> str:
        return self.answers[0].text

    @property
    def reasoning(self) -> str:
        return self.answers[0].reasoning

    @property
    def tool_calls(self) -> list[pb.ToolCall]:
        return self.answers[0].tool_calls

    @property
    def end_reason(self) -> EndReason | None:
        return self.answers[0].end_reason

    def message(self) -> pb.ChatMessage:
        """The first answer as the assistant's turn in the history of the next chat()."""
        return self.answers[0].message()

    def _add(self, event: pb.GenerateEvent) -> pb.Delta | None:
        """Takes in one event. Returns it if it is a Delta."""
        kind = event.WhichOneof("event")
        if kind == "started":
            self.started = event.started
            self.answers = [Answer(index) for index in range(event.started.sampling.n)]
        elif kind == "delta":
            self.answers[event.delta.index]._add(event.delta)
            return event.delta
        elif kind == "sequence_end":
            self.answers[event.sequence_end.index]._end(event.sequence_end)
        elif kind == "completed":
            self.usage, self.timings = event.completed.usage, event.completed.timings
            self.is_complete = True
        return None
