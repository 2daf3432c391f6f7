#include "server/api/chat_arrival.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include <absl/status/statusor.h>
#include <absl/strings/str_format.h>

#include "base/utf8.h"
#include "base/white_space.h"
#include "engine/text/chat/answer_style.h"
#include "jinja/code_points.h"
#include "jinja/json_reader.h"
#include "jinja/json_shape.h"
#include "server/api/chat_checks.h"
#include "server/api/chat_probe.h"

namespace latentd {
namespace {

constexpr std::string_view kLacking =
    "the model's chat template leaves out a part of it, or all, by what it says; shorten it to what the template "
    "prints, or leave it out";
// So many times may the prompt be walked through for what is not where it is looked for first. Templates that put texts
// in an order of their own keep that of each role, so little is. What is left then is taken for printed.
constexpr size_t kMostWalks = 128;

// How a template may write a text.
enum class Form : uint8_t { kVerbatim, kJson, kAsciiJson, kRepr, kHtml, kReduced };
constexpr std::array kForms = {Form::kVerbatim, Form::kJson, Form::kAsciiJson,
                               Form::kRepr,     Form::kHtml, Form::kReduced};

// Without white space, whatever the case of the letters.
std::string Reduced(std::string_view text) {
  const std::string folded = jinja::CaseFold(text);
  std::string reduced;
  for (size_t begin = 0, end = 0; begin < folded.size(); begin = end) {
    if (!jinja::IsSpace(jinja::NextCodePoint(folded, &end))) reduced.append(folded, begin, end - begin);
  }
  return reduced;
}

void AppendJson(uint32_t code_point, Form form, std::string& out) {
  constexpr std::string_view kShort = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
  const size_t at = code_point < 0x80 ? kShort.find(static_cast<char>(code_point)) : kShort.npos;
  if (at != kShort.npos) {
    out.append({'\\', kLetters[at]});
  } else if (code_point >= 0x20 && (code_point < 0x80 || form == Form::kJson)) {
    AppendUtf8(code_point, out);
  } else if (code_point < 0x10000) {
    absl::StrAppendFormat(&out, "\\u%04x", code_point);
  } else {
    const uint32_t rest = code_point - 0x10000;
    absl::StrAppendFormat(&out, "\\u%04x\\u%04x", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
  }
}

// As Python's repr, which is how lists and dicts print texts: a single quote needs a backslash beside double ones.
void AppendRepr(uint32_t code_point, std::string_view escaped_quote, std::string& out) {
  if (code_point == '\n' || code_point == '\r' || code_point == '\t' || code_point == '\\') {
    AppendJson(code_point, Form::kJson, out);
  } else if (code_point == '\'') {
    out += escaped_quote;
  } else if (jinja::IsPrintable(code_point)) {
    AppendUtf8(code_point, out);
  } else if (code_point < 0x100) {
    absl::StrAppendFormat(&out, "\\x%02x", code_point);
  } else if (code_point < 0x10000) {
    absl::StrAppendFormat(&out, "\\u%04x", code_point);
  } else {
    absl::StrAppendFormat(&out, "\\U%08x", code_point);
  }
}

void AppendHtml(char character, std::string& out) {
  constexpr std::string_view kSpecial = "&<>'\"";
  constexpr std::array<std::string_view, 5> kEntities = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  const size_t at = kSpecial.find(character);
  at == kSpecial.npos ? out.append(1, character) : out.append(kEntities[at]);
}

std::string Written(std::string_view text, Form form) {
  if (form == Form::kVerbatim) return std::string(text);
  if (form == Form::kReduced) return Reduced(text);
  const std::string_view quote = text.find('"') == text.npos ? "'" : "\\'";
  std::string out;
  while (!text.empty()) {
    const Utf8Unit unit = NextUtf8Unit(text);
    if (form == Form::kHtml) {
      for (const char byte : text.substr(0, unit.length)) AppendHtml(byte, out);
    } else if (form == Form::kRepr) {
      AppendRepr(unit.code_point, quote, out);
    } else {
      AppendJson(unit.code_point, form, out);
    }
    text.remove_prefix(unit.length);
  }
  return out;
}

// In time that grows with the sum of both, whatever they are.
std::optional<size_t> Find(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::nullopt;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return std::nullopt;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

// Texts of one kind, which stand in the prompt in the order of the request and are mostly written in one form.
struct Track {
  std::array<size_t, kForms.size()> at = {};  // the end of the last, by form
  Form preferred = Form::kVerbatim;
};

class Arrivals {
 public:
  explicit Arrivals(std::string_view prompt) : prompt_(prompt), budget_(kMostWalks * (prompt.size() + 1)) {}

  bool Has(std::string_view text, Track& track) {
    text = Trimmed(text);
    if (text.empty() || budget_ == 0 || FindBehind(text, track.preferred, track)) return true;
    for (const Form form : kForms) {
      if (form != track.preferred && FindBehind(text, form, track)) return true;
    }
    for (const Form form : kForms) {
      if (Search(form, Written(text, form), 0)) return true;
    }
    return budget_ == 0;
  }

 private:
  std::string_view TextIn(Form form) {
    if (form != Form::kReduced) return prompt_;
    if (!reduced_) reduced_ = Reduced(prompt_);
    return *reduced_;
  }

  std::optional<size_t> Search(Form form, std::string_view written, size_t from) {
    const std::string_view prompt = TextIn(form);
    const std::optional<size_t> found = Find(prompt, written, from);
    if (!found) budget_ -= std::min(budget_, prompt.size() - std::min(prompt.size(), from) + 1);
    return found;
  }

  bool FindBehind(std::string_view text, Form form, Track& track) {
    const std::string written = Written(text, form);
    size_t& at = track.at[static_cast<size_t>(form)];
    const std::optional<size_t> found = Search(form, written, at);
    if (!found) return false;
    at = *found + written.size();
    track.preferred = form;
    return true;
  }

  const std::string_view prompt_;
  std::optional<std::string> reduced_;
  size_t budget_;  // of bytes that are walked over in vain
};

class ArrivalChecks {
 public:
  ArrivalChecks(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model, std::string_view prompt,
                FieldChecks& checks)
      : chat_(chat), prefix_(prefix), model_(model), arrivals_(prompt), checks_(checks) {}

  void Run() {
    for (int i = 0; i < chat_.messages_size() && !IsDone(); ++i) {
      CheckMessage(chat_.messages(i), absl::StrFormat("%smessages[%d]", prefix_, i));
    }
    for (int i = 0; i < chat_.tools_size() && !IsDone(); ++i) {
      const std::string& description = chat_.tools(i).description();
      if (!arrivals_.Has(description, tools_)) Lacks(absl::StrFormat("%stools[%d].description", prefix_, i));
    }
  }

 private:
  bool IsDone() const { return checks_.is_full() || prints_messages_ == false; }

  // A template that has no place for the words of a user says nothing about a conversation by leaving out others.
  void Lacks(const std::string& field) {
    if (!prints_messages_) prints_messages_ = PrintsAnyMessage(chat_, model_);
    if (*prints_messages_) checks_.Invalid(field, std::string(kLacking));
  }

  Track& TrackOf(std::string_view role) {
    return role == "user" ? users_ : role == "assistant" ? assistants_ : role == "tool" ? results_ : systems_;
  }

  void CheckText(const v1::ChatMessage& message, std::string_view text, const std::string& field) {
    Track& track = TrackOf(message.role());
    if (arrivals_.Has(text, track)) return;
    const size_t reasoning_end = message.role() == "assistant" ? text.rfind(kReasoningEndText) : text.npos;
    const bool has_answer = reasoning_end != text.npos;
    if (has_answer && arrivals_.Has(text.substr(reasoning_end + kReasoningEndText.size()), track)) return;
    Lacks(field);
  }

  void CheckMessage(const v1::ChatMessage& message, const std::string& path) {
    CheckText(message, message.content(), path + ".content");
    for (int i = 0; i < message.content_parts_size() && !IsDone(); ++i) {
      CheckText(message, message.content_parts(i).text(), absl::StrFormat("%s.content_parts[%d]", path, i));
    }
    for (int i = 0; i < message.tool_calls_size() && !IsDone(); ++i) {
      const std::string& arguments = message.tool_calls(i).arguments_json();
      if (arrivals_.Has(arguments, calls_)) continue;
      const absl::StatusOr<jinja::JsonShape> shape = jinja::ShapeOfJson(arguments);
      const bool is_json = shape.ok() && shape->depth <= kMaxJsonDepth && shape->num_values <= kMaxJsonValues;
      if (is_json && HasTextsOf(*jinja::ParseJson(arguments))) continue;
      Lacks(absl::StrFormat("%s.tool_calls[%d].arguments_json", path, i));
    }
  }

  // What is no JSON, or too much of it, is printed as it is.
  bool HasTextsOf(const jinja::Value& value) {
    if (value.is_text()) return arrivals_.Has(value.text(), values_);
    if (value.is_list()) {
      for (const jinja::Value& item : value.items()) {
        if (!HasTextsOf(item)) return false;
      }
    } else if (value.is_object()) {
      for (const jinja::Object::Entry& entry : value.object().entries()) {
        if (!arrivals_.Has(entry.key.text(), values_) || !HasTextsOf(entry.value)) return false;
      }
    }
    return true;
  }

  const v1::ChatInput& chat_;
  const std::string prefix_;
  const ServedModel& model_;
  Arrivals arrivals_;
  FieldChecks& checks_;
  Track systems_, users_, assistants_, results_, calls_, values_, tools_;
  std::optional<bool> prints_messages_;
};

}  // namespace

void CheckArrival(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model, std::string_view prompt,
                  FieldChecks& checks) {
  ArrivalChecks(chat, prefix, model, prompt, checks).Run();
}

}  // namespace latentd
