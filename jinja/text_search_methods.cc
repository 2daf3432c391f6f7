// Methods of strings that search, split and replace.
#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "jinja/code_points.h"
#include "jinja/methods.h"
#include "jinja/parameters.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

using Pieces = std::vector<std::string_view>;

Value ListOfParts(Runtime& runtime, const Value& whole, const Pieces& pieces) {
  std::vector<Value> items;
  for (const std::string_view piece : pieces) items.push_back(runtime.Part(whole, piece));
  return runtime.List(std::move(items));
}

// A limit of -1 means all.
Pieces SplitAtSpace(Runtime& runtime, std::string_view text, int64_t limit) {
  Pieces pieces;
  text = StripLeft(text);
  while (!text.empty() && runtime.Spend(32)) {
    if (limit >= 0 && static_cast<int64_t>(pieces.size()) >= limit) {
      pieces.push_back(text);
      break;
    }
    size_t end = 0;
    for (size_t next = 0; next < text.size(); end = next) {
      if (IsSpace(NextCodePoint(text, &next))) break;
    }
    pieces.push_back(text.substr(0, end));
    text = StripLeft(text.substr(end));
  }
  return pieces;
}

Pieces SplitAtSpaceFromRight(Runtime& runtime, std::string_view text, int64_t limit) {
  Pieces pieces;
  text = StripRight(text);
  while (!text.empty() && runtime.Spend(32)) {
    if (limit >= 0 && static_cast<int64_t>(pieces.size()) >= limit) {
      pieces.push_back(text);
      break;
    }
    size_t start = text.size();
    while (start > 0) {
      size_t previous = PreviousBoundary(text, start);
      size_t position = previous;
      if (IsSpace(NextCodePoint(text, &position))) break;
      start = previous;
    }
    pieces.push_back(text.substr(start));
    text = StripRight(text.substr(0, start));
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

Pieces SplitAt(Runtime& runtime, std::string_view text, std::string_view separator, int64_t limit) {
  Pieces pieces;
  while (runtime.Spend(32) && (limit < 0 || static_cast<int64_t>(pieces.size()) < limit)) {
    const size_t found = text.find(separator);
    if (found == std::string_view::npos) break;
    pieces.push_back(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  pieces.push_back(text);
  return pieces;
}

Pieces SplitAtFromRight(Runtime& runtime, std::string_view text, std::string_view separator, int64_t limit) {
  Pieces pieces;
  while (runtime.Spend(32) && (limit < 0 || static_cast<int64_t>(pieces.size()) < limit)) {
    const size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    pieces.push_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  pieces.push_back(text);
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

enum class From { kLeft, kRight };

Value Split(Runtime& runtime, const Value& receiver, const Arguments& arguments, From from) {
  const Parameters parameters(runtime, "split", arguments, {"sep", "maxsplit"});
  const std::string_view text = receiver.text();
  const int64_t limit = parameters.Integer(1, -1);
  runtime.SpendBytes(text.size());
  if (parameters.Get(0).is_none()) {
    return ListOfParts(
        runtime, receiver,
        from == From::kLeft ? SplitAtSpace(runtime, text, limit) : SplitAtSpaceFromRight(runtime, text, limit));
  }
  const std::string separator = parameters.Text(0, "");
  if (separator.empty()) return runtime.Fail("expected a separator to split at, found an empty one");
  return ListOfParts(runtime, receiver,
                     from == From::kLeft ? SplitAt(runtime, text, separator, limit)
                                         : SplitAtFromRight(runtime, text, separator, limit));
}

Value SplitMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Split(runtime, receiver, arguments, From::kLeft);
}

Value RightSplitMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Split(runtime, receiver, arguments, From::kRight);
}

Value Partition(Runtime& runtime, const Value& receiver, const Arguments& arguments, From from) {
  const std::string separator = Parameters(runtime, "partition", arguments, {"sep"}, 1).Text(0, "");
  if (separator.empty()) return runtime.Fail("expected a separator to split at, found an empty one");
  const std::string_view text = receiver.text();
  runtime.SpendBytes(text.size());
  const size_t found = from == From::kLeft ? text.find(separator) : text.rfind(separator);
  if (found == std::string_view::npos) {
    const Value empty = Value::Text("");
    return from == From::kLeft ? runtime.Tuple({receiver, empty, empty}) : runtime.Tuple({empty, empty, receiver});
  }
  return runtime.Tuple({runtime.Part(receiver, text.substr(0, found)),
                        runtime.Part(receiver, text.substr(found, separator.size())),
                        runtime.Part(receiver, text.substr(found + separator.size()))});
}

Value PartitionMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Partition(runtime, receiver, arguments, From::kLeft);
}

Value RightPartitionMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Partition(runtime, receiver, arguments, From::kRight);
}

Value SplitLinesMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const bool keep_ends = Parameters(runtime, "splitlines", arguments, {"keepends"}).Truth(0, false);
  const std::string_view text = receiver.text();
  Pieces lines;
  size_t line_start = 0;
  for (size_t position = 0; position < text.size() && runtime.Spend(1);) {
    const size_t end = position;
    if (!IsLineBreak(NextCodePoint(text, &position))) continue;
    if (text[end] == '\r' && position < text.size() && text[position] == '\n') ++position;
    lines.push_back(text.substr(line_start, (keep_ends ? position : end) - line_start));
    line_start = position;
  }
  if (line_start < text.size()) lines.push_back(text.substr(line_start));
  return ListOfParts(runtime, receiver, lines);
}

Value ReplaceMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "replace", arguments, {"old", "new", "count"}, 2);
  const std::string before = parameters.Text(0, "");
  const TracedText after = parameters.Traced(1, "");
  const int64_t limit = parameters.Integer(2, -1);
  const TracedText& source = receiver.traced_text();
  const std::string_view text = receiver.text();
  TracedText replaced;
  size_t position = 0;
  for (int64_t count = 0; limit < 0 || count < limit; ++count) {
    const size_t found = text.find(before, position);
    if (found == std::string_view::npos || !runtime.SpendBytes(found - position + after.text.size())) break;
    replaced.AppendPart(source, position, found);
    replaced.Append(after);
    position = found + before.size();
    if (!before.empty()) continue;
    // An empty text is found before each code point and at the end.
    if (position == text.size()) return runtime.Text(std::move(replaced));
    const size_t start = position;
    NextCodePoint(text, &position);
    replaced.AppendPart(source, start, position);
  }
  replaced.AppendPart(source, position, text.size());
  return runtime.Text(std::move(replaced));
}

// The text between the optional code point positions `start` and `end` of a search.
struct Window {
  std::string_view text;
  int64_t offset = 0;    // code points before it
  bool is_there = true;  // false where it would begin behind its end: not even an empty text is found
};

Window SearchWindow(const Value& receiver, const Parameters& parameters) {
  const std::string_view text = receiver.text();
  if (!parameters.given(1) && !parameters.given(2)) return {text, 0};
  const auto length = static_cast<int64_t>(CountCodePoints(text));
  const auto resolve = [&](size_t index, int64_t otherwise) {
    if (parameters.Get(index).is_none()) return otherwise;
    const int64_t position = parameters.Integer(index, otherwise);
    return std::clamp<int64_t>(position < 0 ? std::max(position, -length) + length : position, 0, length);
  };
  const int64_t start = resolve(1, 0);
  const int64_t end = std::max(start, resolve(2, length));
  const bool begins_behind = !parameters.Get(1).is_none() && parameters.Integer(1, 0) > length;
  const bool is_there = !begins_behind && start <= resolve(2, length);
  const size_t first = ByteOffset(text, static_cast<size_t>(start));
  const size_t last = ByteOffset(text, static_cast<size_t>(end));
  return {text.substr(first, last - first), start, is_there};
}

Value Find(Runtime& runtime, const Value& receiver, const Arguments& arguments, From from) {
  const Parameters parameters(runtime, "find", arguments, {"sub", "start", "end"}, 1);
  const std::string wanted = parameters.Text(0, "");
  runtime.SpendBytes(receiver.text().size());
  const Window window = SearchWindow(receiver, parameters);
  const size_t found = from == From::kLeft ? window.text.find(wanted) : window.text.rfind(wanted);
  if (!window.is_there || found == std::string_view::npos) return Value::Integer(-1);
  return Value::Integer(window.offset + static_cast<int64_t>(CountCodePoints(window.text.substr(0, found))));
}

Value FindMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Find(runtime, receiver, arguments, From::kLeft);
}

Value RightFindMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Find(runtime, receiver, arguments, From::kRight);
}

template <Function kFind>
Value IndexMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Value found = kFind(runtime, receiver, arguments);
  if (!runtime.failed() && found.integral() < 0) return runtime.Fail("substring not found");
  return found;
}

Value CountMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "count", arguments, {"sub", "start", "end"}, 1);
  const std::string wanted = parameters.Text(0, "");
  runtime.SpendBytes(receiver.text().size());
  const Window window = SearchWindow(receiver, parameters);
  const std::string_view text = window.text;
  if (!window.is_there) return Value::Integer(0);
  if (wanted.empty()) return Value::Integer(static_cast<int64_t>(CountCodePoints(text)) + 1);
  int64_t count = 0;
  for (size_t found = text.find(wanted); found != std::string_view::npos; found = text.find(wanted, found)) {
    found += wanted.size();
    ++count;
  }
  return Value::Integer(count);
}

enum class End { kStart, kEnd };

Value Affix(Runtime& runtime, const Value& receiver, const Arguments& arguments, End end) {
  const Parameters parameters(runtime, "startswith", arguments, {"prefix", "start", "end"}, 1);
  const Window window = SearchWindow(receiver, parameters);
  const std::string_view text = window.text;
  const Value wanted = parameters.Get(0);
  const std::vector<Value> choices = wanted.is_tuple() ? wanted.items() : std::vector<Value>{wanted};
  for (const Value& choice : choices) {
    if (!choice.is_text()) {
      return runtime.Fail("startswith and endswith need a string or a tuple of strings, found " +
                          std::string(TypeName(choice)));
    }
    const bool is_at_end = end == End::kStart ? text.starts_with(choice.text()) : text.ends_with(choice.text());
    if (window.is_there && is_at_end) return Value::Bool(true);
  }
  return Value::Bool(false);
}

Value StartsWithMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Affix(runtime, receiver, arguments, End::kStart);
}

Value EndsWithMethod(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  return Affix(runtime, receiver, arguments, End::kEnd);
}

constexpr std::pair<std::string_view, Function> kMethods[] = {
    {"count", CountMethod},
    {"endswith", EndsWithMethod},
    {"find", FindMethod},
    {"index", IndexMethod<FindMethod>},
    {"partition", PartitionMethod},
    {"replace", ReplaceMethod},
    {"rfind", RightFindMethod},
    {"rindex", IndexMethod<RightFindMethod>},
    {"rpartition", RightPartitionMethod},
    {"rsplit", RightSplitMethod},
    {"split", SplitMethod},
    {"splitlines", SplitLinesMethod},
    {"startswith", StartsWithMethod},
};

}  // namespace

Function FindTextSearchMethod(std::string_view name) {
  const auto method =
      std::find_if(std::begin(kMethods), std::end(kMethods), [&](const auto& entry) { return entry.first == name; });
  return method == std::end(kMethods) ? nullptr : method->second;
}

}  // namespace latentd::jinja
