// json.dumps, byte for byte: models were trained on its separators, escapes and order of keys.
#include <algorithm>
#include <cmath>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "jinja/access.h"
#include "jinja/code_points.h"
#include "jinja/filters.h"
#include "jinja/printing.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  void Write(const Value& value) {
    if (!runtime_.Spend(1)) return;
    if (out_.size() > runtime_.limits().text_bytes) runtime_.ReserveText(out_.size());
    switch (value.type()) {
      case Type::kNone:
        out_ += "null";
        return;
      case Type::kBool:
        out_ += value.boolean() ? "true" : "false";
        return;
      case Type::kInteger:
        absl::StrAppend(&out_, value.integral());
        return;
      case Type::kBigInteger:
        out_ += value.digits();
        return;
      case Type::kFloat:
        out_ += NumberText(value.number());
        return;
      case Type::kText:
        if (value.traced_text().kind == TextKind::kJson) {
          out_ += value.text();
        } else {
          WriteString(value.text());
        }
        return;
      case Type::kList:
        WriteList(value.items());
        return;
      case Type::kObject:
        WriteObject(value.object());
        return;
      case Type::kIterable:
        // Python's json has no generators; published templates write what `map` makes all the same.
        if (value.iterable().kind == IterableKind::kGenerator) return WriteList(Iterate(runtime_, value));
        [[fallthrough]];
      default:
        runtime_.Fail(absl::StrFormat("JSON has no %s", TypeName(value)));
    }
  }

  std::string Take() {
    runtime_.SpendBytes(out_.size());
    return std::move(out_);
  }

 private:
  static std::string NumberText(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return FloatToText(value);
  }

  void WriteString(std::string_view text) {
    runtime_.SpendBytes(text.size());
    out_.push_back('"');
    for (size_t position = 0; position < text.size();) {
      const size_t start = position;
      const char32_t c = NextCodePoint(text, &position);
      if (!WriteEscape(c)) out_.append(text.substr(start, position - start));
    }
    out_.push_back('"');
  }

  bool WriteEscape(char32_t c) {
    switch (c) {
      case '"':
        out_ += "\\\"";
        return true;
      case '\\':
        out_ += "\\\\";
        return true;
      case '\n':
        out_ += "\\n";
        return true;
      case '\r':
        out_ += "\\r";
        return true;
      case '\t':
        out_ += "\\t";
        return true;
      case '\b':
        out_ += "\\b";
        return true;
      case '\f':
        out_ += "\\f";
        return true;
      default:
        break;
    }
    if (c >= 0x20 && (c < 0x7F || !style_.ascii_only)) return false;
    if (c >= 0x10000) {
      const unsigned rest = static_cast<unsigned>(c) - 0x10000;
      absl::StrAppendFormat(&out_, "\\u%04x\\u%04x", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
      absl::StrAppendFormat(&out_, "\\u%04x", static_cast<unsigned>(c));
    }
    return true;
  }

  void BreakLine() {
    if (!style_.multiple_lines) return;
    const size_t indent = style_.indent.size() * static_cast<size_t>(depth_);
    if (!runtime_.ReserveText(indent + out_.size() / 64)) return;
    out_.push_back('\n');
    for (int i = 0; i < depth_; ++i) out_ += style_.indent;
  }

  void WriteList(const std::vector<Value>& items) {
    out_ += "[";
    ++depth_;
    for (size_t i = 0; i < items.size() && !runtime_.failed(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      BreakLine();
      Write(items[i]);
    }
    --depth_;
    if (!items.empty()) BreakLine();
    out_ += "]";
  }

  void WriteObject(const Object& object) {
    std::vector<const Object::Entry*> entries;
    for (const Object::Entry& entry : object.entries()) entries.push_back(&entry);
    if (style_.sort_keys) entries = SortedByKeys(entries);
    out_ += "{";
    ++depth_;
    for (size_t i = 0; i < entries.size() && !runtime_.failed(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      BreakLine();
      WriteString(KeyText(entries[i]->key));
      out_ += style_.key_separator;
      Write(entries[i]->value);
    }
    --depth_;
    if (!entries.empty()) BreakLine();
    out_ += "}";
  }

  // Sorted as Python compares the keys themselves, which fails for keys of different types.
  std::vector<const Object::Entry*> SortedByKeys(const std::vector<const Object::Entry*>& entries) {
    std::vector<std::pair<Value, Value>> keyed;
    for (size_t i = 0; i < entries.size(); ++i) {
      keyed.emplace_back(entries[i]->key, Value::Integer(static_cast<int64_t>(i)));
    }
    std::vector<const Object::Entry*> sorted;
    for (const Value& index : SortedByKey(runtime_, std::move(keyed))) {
      sorted.push_back(entries[static_cast<size_t>(index.integral())]);
    }
    return sorted;
  }

  std::string KeyText(const Value& key) {
    switch (key.type()) {
      case Type::kText:
        return key.text();
      case Type::kNone:
        return "null";
      case Type::kBool:
        return key.boolean() ? "true" : "false";
      case Type::kInteger:
        return absl::StrCat(key.integral());
      case Type::kBigInteger:
        return key.digits();
      case Type::kFloat:
        return NumberText(key.number());
      default:
        runtime_.Fail(absl::StrFormat("a key of a JSON object cannot be a %s", TypeName(key)));
    }
    return "";
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  std::string out_;
  int depth_ = 0;
};

}  // namespace

std::string ToJson(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonWriter writer(runtime, style);
  writer.Write(value);
  return writer.Take();
}

}  // namespace latentd::jinja
