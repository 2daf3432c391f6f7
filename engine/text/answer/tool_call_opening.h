// The text before a tool call's arguments. Where the markers alone do not tell the syntax, the text between them does:
//
//   V3, R1    <call_begin>function<separator>NAME\n```json\n   ARGUMENTS   \n```<call_end>
//   V3.1      <call_begin>NAME<separator>                      ARGUMENTS   <call_end>
//   Kimi-K2   <call_begin>functions.NAME:INDEX<separator>      ARGUMENTS   <call_end>
//
// Kimi-K2's id of a call is all that stands before <separator>.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/text/answer/call_arguments.h"

namespace latentd {

struct ToolCallOpening {
  std::string id = {};  // empty: the syntax has none
  std::string name = {};
  CodeFence fence = CodeFence::kNone;
};

// `header` is the text before the separator, `prelude` the one behind it, up to and including the brace that begins the
// arguments, or up to the end of a call that has none. Nothing where they don't open a call.
std::optional<ToolCallOpening> ReadDeepSeekOpening(std::string_view header, std::string_view prelude);
std::optional<ToolCallOpening> ReadKimiOpening(std::string_view header);

}  // namespace latentd
