// The text of one stream as it grows: ids to UTF-8, up to the first stop string. What may be the start of a stop string
// or of a character is held back. Publisher thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/schedule/request.h"
#include "engine/text/detokenizer.h"
#include "engine/text/stop_matcher.h"
#include "engine/text/tokenizer.h"

namespace latentd {

class StreamText {
 public:
  // Without a tokenizer all text is empty; else it must outlive this.
  StreamText(const Tokenizer* tokenizer, const StoppingParameters& stopping);

  // The text that became certain with this token. Nothing once stopped.
  std::string Append(int32_t id);
  // The same for a stop token whose text the client wants to keep: special tokens are printed, too.
  std::string AppendStopToken(int32_t id);
  // What was held back, at the end of the sequence.
  std::string Finish();

  // The stop string that was found: all text before it has been handed out.
  bool stopped() const { return found_.has_value(); }
  const std::string& stop_string() const { return stops_[*found_]; }

 private:
  std::string Match(std::string_view text);

  const Tokenizer* tokenizer_;
  std::vector<std::string> stops_;
  std::optional<Detokenizer> detokenizer_;
  StopMatcher matcher_;
  std::optional<size_t> found_;
};

}  // namespace latentd
