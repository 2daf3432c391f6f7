// What one stream says as it grows: ids to UTF-8, a chat's answer split into content, reasoning and tool calls, up to
// the first stop string in its content whose last character comes after min_tokens. What may be the start of a stop
// string, of a character or of a tool call is held back. A copy shares the stop strings. Publisher thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/request.h"
#include "engine/text/answer/answer_format.h"
#include "engine/text/answer/answer_parser.h"
#include "engine/text/answer/answer_parts.h"
#include "engine/text/answer/detokenizer.h"
#include "engine/text/answer/stop_matcher.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace latentd {

class StreamText {
 public:
  // Without a tokenizer all text is empty; else it must outlive this. `format` is the tokenizer's.
  StreamText(const Tokenizer* tokenizer, const AnswerFormat& format, const StoppingRule& stopping,
             const AnswerRule& answer);

  // What became certain with this token. Nothing once stopped.
  AnswerParts Append(int32_t id);
  // The same for a stop token whose text the client wants to keep: special tokens are printed, too.
  AnswerParts AppendStopToken(int32_t id);
  // What was held back, at the end of the sequence.
  AnswerParts Finish();

  // The stop string that was found: all text before it has been handed out.
  bool stopped() const { return found_.has_value(); }
  const std::string& stop_string() const { return matcher_.stop(*found_); }
  // Tokens appended while reasoning, its markers not among them.
  int reasoning_tokens() const { return reasoning_tokens_; }

 private:
  // Only content can stop, and only after min_tokens; nothing of an answer follows its stop string.
  AnswerParts Match(AnswerParts parts);

  const Tokenizer* tokenizer_;
  const AnswerFormat format_;  // empty: the answer is not parsed
  std::optional<Detokenizer> detokenizer_;
  AnswerParser parser_;
  StopMatcher matcher_;
  std::optional<size_t> found_;
  const int min_tokens_;
  int num_tokens_ = 0;  // appended
  int reasoning_tokens_ = 0;
};

}  // namespace latentd
