// Splits an answer into content, reasoning and tool calls as it grows. Markers come as tokens and text as text, so that
// what merely looks like a marker stays text. One per answer, one thread.
//
// Reasoning lasts from its begin marker, or from the start where prompt or format say so, to its end marker, the first
// tool call or the end of the answer. Its markers vanish where the answer's parts show the border that they mark, and
// are text where they mark none: an end without a begin is content, since what came before has been handed out as such,
// and a begin within reasoning is reasoning. Only a begin that is known anyway, the first thing that a model writes,
// says nothing new.
//
// A tool call is held back until its opening is whole: then its id and name come out, and its arguments as they grow.
// Markers of well-formed calls and the white space between them vanish. Nothing else does: what turns out to be no call
// is content, its markers printed, and a marker inside of arguments, unless it ends them, is part of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/text/answer/answer_format.h"
#include "engine/text/answer/answer_parts.h"
#include "engine/text/answer/call_arguments.h"
#include "engine/text/answer/tool_call_opening.h"

namespace latentd {

// Limits of one answer, so that each answer can be sent back: text beyond them is content.
inline constexpr int kMaxAnswerCalls = 4096;
inline constexpr size_t kMaxCallNameBytes = 1024;  // ids among them

class AnswerParser {
 public:
  // `calls_before`: of the conversation so far. Where the syntax has no ids, calls are numbered on from there.
  AnswerParser(const AnswerFormat& format, AnswerStart start, int calls_before);

  // Whole characters, in pieces of any size.
  void AppendText(std::string_view text, AnswerParts& parts);
  // Anything but AnswerMarker::kNone, with the marker's own text.
  void AppendMarker(AnswerMarker marker, std::string_view text, AnswerParts& parts);
  // The answer has ended: the text that was held back.
  void Finish(AnswerParts& parts);

  bool is_reasoning() const { return state_ == State::kReasoning; }

 private:
  enum class State : uint8_t {
    kContent,
    kReasoning,
    kBetween,    // behind the section's begin or a call's end: before the next call
    kHeader,     // behind a call's begin
    kPrelude,    // behind its separator
    kArguments,  // of a call that was opened
  };

  void AppendHeld(std::string_view text, AnswerParts& parts);
  void AppendPrelude(std::string_view text, AnswerParts& parts);
  void AppendArguments(std::string text, AnswerParts& parts);
  // The text that is held back is no call.
  void Release(AnswerParts& parts);
  void Hold(State state, std::string_view text);

  void BeginReasoning(std::string_view text, AnswerParts& parts);
  void EndReasoning(std::string_view text, AnswerParts& parts);
  void BeginSection(std::string_view text, AnswerParts& parts);
  void EndSection(std::string_view text, AnswerParts& parts);
  void BeginCall(std::string_view text, AnswerParts& parts);
  void EndCall(std::string_view text, AnswerParts& parts);
  void Separate(std::string_view text, AnswerParts& parts);
  // False where the text that is held back opens no call.
  bool Open(const std::optional<ToolCallOpening>& opening, AnswerParts& parts);
  void EndArguments(AnswerParts& parts);

  std::string_view Header() const;
  std::string_view Prelude() const { return std::string_view(held_).substr(prelude_begin_); }

  const ToolCallSyntax syntax_;
  const int calls_before_;
  State state_;
  bool awaits_begin_;           // it started in reasoning, and nothing but white space came since
  bool is_in_section_ = false;  // a call of it came: its end has no text
  int num_calls_ = 0;

  std::string held_;  // between kBetween and kPrelude: the text since then, markers included
  size_t header_begin_ = 0, header_end_ = 0, prelude_begin_ = 0;
  std::optional<CallArguments> arguments_;  // in kArguments
};

}  // namespace latentd
