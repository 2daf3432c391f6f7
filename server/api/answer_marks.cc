#include "server/api/answer_marks.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <absl/strings/str_format.h>

#include "engine/text/chat/answer_style.h"
#include "server/api/chat_words.h"
#include "server/api/status.h"

namespace latentd {
namespace {

// Unicode sets these code points apart for use within a program: none is a character of any text.
constexpr std::string_view kAnyMark = "\xEF\xB7";
constexpr std::string_view kTextEnd = "\xEF\xB7\x90", kCallsBegin = "\xEF\xB7\x91";
constexpr std::string_view kFirstInReasoningEnd = "\xEF\xB7\x92", kLastInReasoningEnd = "\xEF\xB7\xAF";
constexpr size_t kMarkBytes = kTextEnd.size();
constexpr size_t kHalf = kReasoningEndText.size() / 2;  // what stands before the mark in it

using Range = jinja::TracedText::Range;

std::string MarkedReasoningEnd(std::string_view mark) {
  std::string marked(kReasoningEndText);
  return marked.insert(kHalf, mark);
}

// The part that no model wrote of the characters between a text and the first call's name.
std::optional<size_t> Unwritten(std::string_view between, const SplitAnswer& split) {
  if (between.ends_with(split.calls_opening)) return between.size() - split.calls_opening.size();
  if (between.starts_with(split.text_end)) return split.text_end.size();
  return std::nullopt;
}

// What to cut from the prompt: all marks, and what is unwritten between those of a split message.
class Cutter {
 public:
  // `split`: none where no message is split. `in_reasoning_end`: empty where no message keeps ends of reasoning.
  Cutter(std::string_view text, const SplitAnswer* split, std::string_view in_reasoning_end)
      : text_(text), split_(split), in_reasoning_end_(in_reasoning_end) {}

  // False where the marks are not in the order in which they were set.
  bool Run() {
    for (size_t at = text_.find(kAnyMark); at != text_.npos; at = text_.find(kAnyMark, at + kMarkBytes)) {
      const std::string_view mark = text_.substr(at, kMarkBytes);
      if (mark == in_reasoning_end_ && IsInReasoningEnd(at)) cuts_.push_back({at, at + kMarkBytes});
      if (split_ == nullptr) continue;
      if (mark == kCallsBegin && !CutBetween(at)) return false;
      if (mark == kTextEnd && std::exchange(open_, at) != text_.npos) return false;
    }
    return open_ == text_.npos;
  }

  const std::vector<Range>& cuts() const { return cuts_; }
  int num_split() const { return num_split_; }

 private:
  bool IsInReasoningEnd(size_t at) const {
    return text_.substr(0, at).ends_with(kReasoningEndText.substr(0, kHalf)) &&
           text_.substr(at + kMarkBytes).starts_with(kReasoningEndText.substr(kHalf));
  }

  bool CutBetween(size_t calls_begin) {
    if (open_ == text_.npos) return false;
    const size_t between = open_ + kMarkBytes;
    const auto unwritten = Unwritten(text_.substr(between, calls_begin - between), *split_);
    if (!unwritten) return false;
    cuts_.push_back({open_, between + *unwritten});
    cuts_.push_back({calls_begin, calls_begin + kMarkBytes});
    open_ = std::string_view::npos;
    ++num_split_;
    return true;
  }

  const std::string_view text_;
  const SplitAnswer* const split_;
  const std::string_view in_reasoning_end_;
  size_t open_ = std::string_view::npos;  // a text's end whose calls are still to come
  std::vector<Range> cuts_;
  int num_split_ = 0;
};

jinja::TracedText Without(const jinja::TracedText& prompt, const std::vector<Range>& cuts) {
  jinja::TracedText rest;
  size_t begin = 0;
  for (const Range& cut : cuts) {
    rest.AppendPart(prompt, begin, cut.begin);
    begin = cut.end;
  }
  rest.AppendPart(prompt, begin, prompt.text.size());
  return rest;
}

}  // namespace

bool IsSplit(const v1::ChatMessage& message, const ChatFormat& format) {
  const ToolCallStyle& style = format.tool_call_style;
  return message.tool_calls_size() > 0 && HasContent(message) && !style.beside_text && style.split.has_value();
}

std::string WithMarkedEnd(std::string_view text) { return std::string(text) + std::string(kTextEnd); }
std::string WithMarkedBegin(std::string_view name) { return std::string(kCallsBegin) + std::string(name); }

bool KeepsReasoningEnds(const v1::ChatMessage& message, const ChatFormat& format) {
  return message.has_reasoning() && format.answer_style.cuts_reasoning;
}

std::string ReasoningEndMark(const v1::ChatInput& chat, const ChatFormat& format) {
  const auto keeps = [&format](const v1::ChatMessage& message) { return KeepsReasoningEnds(message, format); };
  if (std::none_of(chat.messages().begin(), chat.messages().end(), keeps)) return {};
  const std::string request = chat.SerializeAsString();  // each text stands in it as it is
  std::string mark(kFirstInReasoningEnd);
  while (mark != kLastInReasoningEnd && request.find(MarkedReasoningEnd(mark)) != request.npos) ++mark.back();
  return mark;
}

std::string WithMarkedReasoningEnds(std::string_view text, std::string_view mark) {
  std::string marked;
  size_t begin = 0;
  for (size_t at = text.find(kReasoningEndText); at != text.npos; at = text.find(kReasoningEndText, begin)) {
    marked += text.substr(begin, at + kHalf - begin);
    marked += mark;
    begin = at + kHalf;
  }
  return marked + std::string(text.substr(begin));
}

absl::Status RemoveMarks(std::string_view messages, const v1::ChatInput& chat, const ChatFormat& format,
                         jinja::TracedText& prompt) {
  const auto num_split = std::count_if(chat.messages().begin(), chat.messages().end(),
                                       [&](const v1::ChatMessage& message) { return IsSplit(message, format); });
  const std::string in_reasoning_end = ReasoningEndMark(chat, format);
  if (num_split == 0 && in_reasoning_end.empty()) return absl::OkStatus();
  Cutter cutter(prompt.text, num_split > 0 ? &*format.tool_call_style.split : nullptr, in_reasoning_end);
  if (!cutter.Run() || cutter.num_split() != num_split) {
    return InvalidField(messages,
                        "the model's chat template prints either a content or tool calls and cannot be made to print "
                        "both here; leave the content of messages with calls unset");
  }
  if (!cutter.cuts().empty()) prompt = Without(prompt, cutter.cuts());
  return absl::OkStatus();
}

}  // namespace latentd
