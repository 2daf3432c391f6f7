#include "engine/text/answer/call_arguments.h"

#include <utility>

#include "base/white_space.h"

namespace latentd {
namespace {

constexpr std::string_view kFence = "```";
// A longer run of white space is passed on from its front, so that a model that writes nothing else is not unheard.
constexpr size_t kMaxHeldBytes = 1024;

}  // namespace

std::string CallArguments::Append(std::string_view text) {
  FollowJson(text);
  std::string pending = std::exchange(held_, {});
  pending += text;
  if (!has_begun_) pending.erase(0, pending.size() - TrimmedLeft(pending).size());
  has_begun_ = has_begun_ || !pending.empty();
  size_t certain = FindClosing(pending);
  if (pending.size() - certain > kMaxHeldBytes) certain = pending.size() - kMaxHeldBytes;
  held_ = pending.substr(certain);
  pending.resize(certain);
  return pending;
}

std::string CallArguments::End() {
  const std::string_view rest = Trimmed(held_);
  const bool is_closing = rest.empty() || (fence_ == CodeFence::kOpen && rest == kFence);
  std::string text = std::exchange(held_, {});
  return is_closing ? std::string() : text;
}

std::string CallArguments::CutOff() {
  std::string text = std::exchange(held_, {});
  const bool is_whole = depth_ == 0 && !in_string_;
  return is_whole ? std::string() : text;
}

void CallArguments::FollowJson(std::string_view text) {
  for (const char c : text) {
    if (is_escaped_) {
      is_escaped_ = false;
    } else if (in_string_) {
      is_escaped_ = c == '\\';
      in_string_ = c != '"';
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if (c == '}' || c == ']') {
      --depth_;
    }
  }
}

size_t CallArguments::FindClosing(std::string_view text) const {
  const std::string_view whole = TrimmedRight(text);
  if (fence_ == CodeFence::kNone) return whole.size();
  std::string_view before = whole;
  while (before.ends_with('`') && whole.size() - before.size() < kFence.size()) before.remove_suffix(1);
  const size_t num_backticks = whole.size() - before.size();
  // White space behind a fence that isn't whole shows that it is none.
  const bool may_grow = whole.size() == text.size() && num_backticks > 0;
  return num_backticks == kFence.size() || may_grow ? TrimmedRight(before).size() : whole.size();
}

}  // namespace latentd
