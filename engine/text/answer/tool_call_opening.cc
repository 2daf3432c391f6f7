#include "engine/text/answer/tool_call_opening.h"

#include <algorithm>

#include "base/white_space.h"

namespace latentd {
namespace {

constexpr std::string_view kFunctionKind = "function";  // the only kind there is
constexpr std::string_view kFunctionNamespace = "functions.";
constexpr std::string_view kArgumentsBegin = "{";
constexpr std::string_view kFence = "```", kJsonFence = "```json";

bool ConsumeSuffix(std::string_view suffix, std::string_view& text) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

bool ConsumeFence(std::string_view& text) {
  text = TrimmedRight(text);
  return ConsumeSuffix(kJsonFence, text) || ConsumeSuffix(kFence, text);
}

bool IsName(std::string_view text) {
  const auto belongs = [](char c) { return static_cast<unsigned char>(c) > ' ' && c != '`' && c != '\x7F'; };
  return !text.empty() && std::all_of(text.begin(), text.end(), belongs);
}

bool IsNumber(std::string_view text) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

}  // namespace

std::optional<ToolCallOpening> ReadDeepSeekOpening(std::string_view header, std::string_view prelude) {
  const bool has_arguments = ConsumeSuffix(kArgumentsBegin, prelude);
  std::string_view name = prelude;
  const bool has_fence = ConsumeFence(name);
  if (!has_arguments) ConsumeFence(name);  // the one that opens it; the first was the one that closes it
  name = Trimmed(name);
  const std::string_view kind = Trimmed(header);
  if (name.empty()) {
    // V3.1: the header is the name. "function" is one, too, but a fence or nothing at all behind it means that the name
    // is missing.
    if (kind == kFunctionKind && (has_fence || !has_arguments)) return std::nullopt;
    name = kind;
  } else if (kind != kFunctionKind) {
    return std::nullopt;
  }
  if (!IsName(name)) return std::nullopt;
  return ToolCallOpening{.id = {}, .name = std::string(name), .fence = has_fence ? CodeFence::kOpen : CodeFence::kNone};
}

std::optional<ToolCallOpening> ReadKimiOpening(std::string_view header) {
  const std::string_view id = Trimmed(header);
  const size_t colon = id.rfind(':');
  if (!id.starts_with(kFunctionNamespace) || colon == std::string_view::npos) return std::nullopt;
  const size_t begin = kFunctionNamespace.size();
  if (colon < begin || !IsNumber(id.substr(colon + 1))) return std::nullopt;
  const std::string_view name = id.substr(begin, colon - begin);
  if (!IsName(name)) return std::nullopt;
  return ToolCallOpening{.id = std::string(id), .name = std::string(name), .fence = CodeFence::kNone};
}

}  // namespace latentd
