// The arguments of one tool call on their way out: the model's own text, without the white space and the code fence
// around it. What may be the end of them is held back until it is known. One per call, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace latentd {

enum class CodeFence : uint8_t { kNone, kOpen };  // kOpen: ``` stood before the arguments

class CallArguments {
 public:
  explicit CallArguments(CodeFence fence) : fence_(fence) {}

  // The text that is certain now. How the whole is cut makes no difference to all texts together.
  std::string Append(std::string_view text);
  // The call has ended: what was held back, unless it is a closing fence or white space.
  std::string End();
  // The answer has ended before the call did. Behind a whole JSON value nothing was lost but its closing; else what was
  // held back belongs to a value that is cut off.
  std::string CutOff();

 private:
  void FollowJson(std::string_view text);
  // Where in `text` the longest tail begins that may be the closing.
  size_t FindClosing(std::string_view text) const;

  const CodeFence fence_;
  bool has_begun_ = false;
  std::string held_;  // white space and backticks

  // State of the JSON value so far.
  int depth_ = 0;
  bool in_string_ = false;
  bool is_escaped_ = false;
};

}  // namespace latentd
