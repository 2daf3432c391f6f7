#include "server/api/continued_message.h"

#include "jinja/code_points.h"
#include "server/api/status.h"

namespace latentd {
namespace {

// Ends in white space: where a template trims the content, the mark is found without it.
constexpr std::string_view kMark = "CONTINUE_FINAL_MESSAGE_TAG ";

void Cut(jinja::TracedText& prompt, size_t end) {
  prompt.text.resize(end);
  auto& ranges = prompt.from_request;
  while (!ranges.empty() && ranges.back().begin >= end) ranges.pop_back();
  if (!ranges.empty() && ranges.back().end > end) ranges.back().end = end;
}

}  // namespace

std::string WithOpenEnd(std::string_view content) { return std::string(content) + std::string(kMark); }

absl::Status EndAtOpenEnd(std::string_view field, std::string_view content, jinja::TracedText& prompt) {
  const std::string_view text = prompt.text;
  const std::string_view trimmed = jinja::StripRight(kMark);
  const size_t at = text.rfind(trimmed);
  if (at == std::string_view::npos || text.find(jinja::StripLeft(jinja::StripRight(content))) == text.npos) {
    return InvalidField(field, "the model's chat template does not print the last message's content as it is");
  }
  const bool is_trimmed = text.substr(at, kMark.size()) != kMark;
  Cut(prompt, is_trimmed ? jinja::StripRight(text.substr(0, at)).size() : at);
  return absl::OkStatus();
}

const std::string& ContinuedText(const v1::ChatMessage& message) {
  if (message.content_parts().empty()) return message.content();
  return message.content_parts().rbegin()->text();
}

}  // namespace latentd
