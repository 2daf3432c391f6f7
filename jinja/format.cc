#include "jinja/format.h"

#include <charconv>
#include <cmath>
#include <optional>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "jinja/access.h"
#include "jinja/format_spec.h"
#include "jinja/printing.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

// A format with values in it, traced.
class Filled {
 public:
  explicit Filled(const Value& format) : format_(format) {}

  // `part` lies within the format's text.
  void AppendFormat(std::string_view part) {
    const auto begin = static_cast<size_t>(part.data() - format_.text().data());
    out_.AppendPart(format_.traced_text(), begin, begin + part.size());
  }
  // The format may name the padding of a value.
  void AppendValue(const Value& value, std::string text) {
    if (!value.has_request_text() && !format_.has_request_text()) return out_.Append(text);
    out_.Append(TracedText::FromRequest(std::move(text)));
  }

  size_t size() const { return out_.text.size(); }
  TracedText Take() { return std::move(out_); }

 private:
  const Value format_;
  TracedText out_;
};

// '%s' % values
class PercentFormat {
 public:
  PercentFormat(Runtime& runtime, const Value& format, const Value& values)
      : runtime_(runtime), rest_(format.text()), values_(values), out_(format) {}

  Value Run() {
    while (!rest_.empty() && !runtime_.failed()) {
      const size_t percent = rest_.find('%');
      out_.AppendFormat(rest_.substr(0, percent));
      if (percent == std::string_view::npos) break;
      rest_.remove_prefix(percent + 1);
      Convert();
    }
    // Lists and dicts may stay unused, as in Python, where they could be looked up by name.
    const bool is_unused = values_.is_tuple()
                               ? next_ < values_.items().size()
                               : next_ == 0 && !values_.is_object() && !values_.is_list() && !values_.is_undefined();
    if (is_unused) runtime_.Fail("a format has fewer fields than values");
    return runtime_.Text(out_.Take());
  }

 private:
  void Convert() {
    std::optional<Value> named;
    if (rest_.starts_with("(")) {
      const size_t end = rest_.find(')');
      const Value* found = nullptr;
      if (end != std::string_view::npos && values_.is_object()) found = values_.object().Find(rest_.substr(1, end - 1));
      if (found == nullptr) return Fail("'%(' needs the name of a value that is given");
      named = *found;
      rest_.remove_prefix(end + 1);
    }
    const std::string_view flags = TakeAny("-+ 0#");
    const std::string_view size = TakeAny("0123456789.");
    if (rest_.empty()) return Fail("a format ends inside of a field");
    const char type = rest_.front();
    if (type == '%') out_.AppendFormat(rest_.substr(0, 1));
    rest_.remove_prefix(1);
    if (type == '%') return;
    std::optional<Value> value = named ? named : NextValue();
    if (value) Append(*value, flags, size, type);
  }

  std::string_view TakeAny(std::string_view characters) {
    const std::string_view taken = rest_.substr(0, rest_.find_first_not_of(characters));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  std::optional<Value> NextValue() {
    const bool is_tuple = values_.is_tuple();
    if (next_ >= (is_tuple ? values_.items().size() : 1)) {
      Fail("a format has more fields than values");
      return std::nullopt;
    }
    const size_t index = next_++;
    return is_tuple ? values_.items()[index] : values_;
  }

  void Append(const Value& value, std::string_view flags, std::string_view size, char type) {
    if (flags.find('#') != std::string_view::npos || value.type() == Type::kBigInteger) {
      if (type != 's' && type != 'r') return static_cast<void>(runtime_.FailNotImplemented("this number in a format"));
    }
    const auto has = [&](char flag) { return flags.find(flag) != std::string_view::npos; };
    const bool is_text = type == 's' || type == 'r';
    FormatSpec spec = ParseFormatSpec(runtime_, size);
    spec.sign = has('+') ? '+' : has(' ') ? ' ' : '-';
    spec.zero_padded = has('0') && !has('-') && !is_text;
    spec.fill = spec.zero_padded ? "0" : " ";
    spec.align = has('-') ? '<' : spec.zero_padded ? '=' : '>';
    if (is_text) {
      const std::string text = type == 'r' ? ToRepr(runtime_, value) : ToText(runtime_, value);
      out_.AppendValue(value, ApplyFormatSpec(runtime_, Value::Text(text), spec));
    } else if (std::string_view("diuxXoeEfFgG").find(type) != std::string_view::npos) {
      const bool decimal = type == 'd' || type == 'i' || type == 'u';
      if (decimal && value.type() == Type::kFloat && std::fabs(value.number()) >= 9e18) {
        return static_cast<void>(runtime_.FailNotImplemented("an integer of more than 64 bits"));
      }
      const bool truncate = decimal && value.type() == Type::kFloat && value.number() > -9e18 && value.number() < 9e18;
      spec.type = decimal ? 'd' : type;
      const Value number = truncate ? Value::Integer(static_cast<int64_t>(value.number())) : value;
      out_.AppendValue(value, ApplyFormatSpec(runtime_, number, spec));
    } else {
      runtime_.FailNotImplemented(absl::StrFormat("format '%%%c'", type));
    }
    runtime_.SpendBytes(out_.size() / 8);
    if (out_.size() > runtime_.limits().text_bytes) runtime_.ReserveText(out_.size());
  }

  void Fail(const std::string& message) { runtime_.Fail(message); }

  Runtime& runtime_;
  std::string_view rest_;
  const Value& values_;
  size_t next_ = 0;
  Filled out_;
};

// '{}'.format(values)
class BraceFormat {
 public:
  BraceFormat(Runtime& runtime, const Value& format, const Arguments& arguments)
      : runtime_(runtime), rest_(format.text()), arguments_(arguments), out_(format) {}

  Value Run() {
    while (!rest_.empty() && !runtime_.failed()) {
      const size_t brace = rest_.find_first_of("{}");
      out_.AppendFormat(rest_.substr(0, brace));
      if (brace == std::string_view::npos) break;
      rest_.remove_prefix(brace);
      if (rest_.starts_with("{{") || rest_.starts_with("}}")) {
        out_.AppendFormat(rest_.substr(0, 1));
        rest_.remove_prefix(2);
      } else {
        Replace();
      }
    }
    return runtime_.Text(out_.Take());
  }

 private:
  void Replace() {
    const size_t end = rest_.find('}');
    if (rest_.front() != '{' || end == std::string_view::npos) {
      runtime_.Fail("a format has an unmatched brace");
      return;
    }
    std::string_view field = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    const size_t spec_start = field.find(':');
    const std::string_view written =
        spec_start == std::string_view::npos ? std::string_view() : field.substr(spec_start + 1);
    const FormatSpec spec = ParseFormatSpec(runtime_, written);
    field = field.substr(0, spec_start);
    const size_t conversion_start = field.find('!');
    const std::string_view conversion =
        conversion_start == std::string_view::npos ? std::string_view() : field.substr(conversion_start + 1);
    const Value value = Lookup(field.substr(0, conversion_start));
    Value converted = value;
    if (conversion == "r") converted = runtime_.Text(ToRepr(runtime_, value));
    if (conversion == "s") converted = runtime_.Text(ToText(runtime_, value));
    if (conversion_start != std::string_view::npos && conversion != "r" && conversion != "s") {
      runtime_.FailNotImplemented(absl::StrFormat("the conversion '%s' of a format", conversion));
    }
    if (!written.empty()) converted = Suited(converted, spec);
    out_.AppendValue(value, ApplyFormatSpec(runtime_, converted, spec));
    if (out_.size() > runtime_.limits().text_bytes) runtime_.ReserveText(out_.size());
  }

  // Numbers are written as numbers, booleans among them; other values take no specification.
  Value Suited(const Value& value, const FormatSpec& spec) {
    if (value.type() == Type::kBigInteger) return runtime_.FailNotImplemented("a format of an integer of this size");
    if (value.type() == Type::kFloat && spec.type == '\0' && spec.precision >= 0) {
      return runtime_.FailNotImplemented("a format with a precision and no type");
    }
    if (!SuitsFormatSpec(value, spec)) return runtime_.Fail("a format specification does not suit its value");
    return value.type() == Type::kBool ? Value::Integer(value.integral()) : value;
  }

  // name.attribute[item] …
  Value Lookup(std::string_view field) {
    const size_t end = std::min(field.find_first_of(".["), field.size());
    Value value = First(field.substr(0, end));
    field.remove_prefix(end);
    while (!field.empty() && !runtime_.failed()) {
      const bool is_item = field.front() == '[';
      const size_t close = is_item ? field.find(']') : std::min(field.find_first_of(".[", 1), field.size());
      if (close == std::string_view::npos) return runtime_.Fail("a format has an unmatched bracket");
      const std::string_view key = field.substr(1, close - 1);
      value = is_item ? GetItem(runtime_, value, Key(key)) : GetAttribute(runtime_, value, key);
      field.remove_prefix(is_item ? close + 1 : close);
    }
    return value;
  }

  static Value Key(std::string_view key) {
    int64_t index = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
    if (error == std::errc() && end == key.data() + key.size()) return Value::Integer(index);
    return Value::Text(std::string(key));
  }

  Value First(std::string_view name) {
    const Value key = name.empty() ? Value::Integer(static_cast<int64_t>(next_++)) : Key(name);
    if (key.is_integral()) {
      const auto index = static_cast<uint64_t>(key.integral());
      if (index < arguments_.positional.size()) return arguments_.positional[index];
    } else {
      for (const auto& [argument, value] : arguments_.named) {
        if (argument == name) return value;
      }
    }
    return runtime_.Fail(absl::StrFormat("a format has no value for its field '{%s}'", name));
  }

  Runtime& runtime_;
  std::string_view rest_;
  const Arguments& arguments_;
  size_t next_ = 0;
  Filled out_;
};

}  // namespace

Value FormatPercent(Runtime& runtime, const Value& format, const Value& values) {
  return PercentFormat(runtime, format, values).Run();
}

Value FormatBraces(Runtime& runtime, const Value& format, const Arguments& arguments) {
  return BraceFormat(runtime, format, arguments).Run();
}

}  // namespace latentd::jinja
