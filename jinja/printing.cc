#include "jinja/printing.h"

#include <charconv>
#include <cmath>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "jinja/ast.h"
#include "jinja/code_points.h"
#include "jinja/cycler.h"
#include "jinja/runtime.h"
#include "jinja/value.h"

namespace latentd::jinja {
namespace {

void AppendQuoted(std::string_view text, std::string* out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  out->push_back(quote);
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const char32_t c = NextCodePoint(text, &position);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out->push_back('\\');
      out->push_back(static_cast<char>(c));
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out->append(c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
    } else if (IsPrintable(c)) {
      out->append(text.substr(start, position - start));
    } else if (c < 0x100) {
      absl::StrAppendFormat(out, "\\x%02x", static_cast<unsigned>(c));
    } else if (c < 0x10000) {
      absl::StrAppendFormat(out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      absl::StrAppendFormat(out, "\\U%08x", static_cast<unsigned>(c));
    }
  }
  out->push_back(quote);
}

// Namespaces may contain themselves, so the writer counts its own depth.
class ReprWriter {
 public:
  explicit ReprWriter(Runtime& runtime) : runtime_(runtime) {}

  void Write(const Value& value) {
    const size_t before = out_.size();
    if (depth_ > kMaxValueDepth) runtime_.Fail("a namespace that contains itself cannot be printed");
    if (!runtime_.Spend(1)) return;
    ++depth_;
    WriteByType(value);
    --depth_;
    if (out_.size() > runtime_.limits().text_bytes) runtime_.ReserveText(out_.size());
    if (depth_ == 0) runtime_.SpendBytes(out_.size() - before);
  }

  std::string Take() { return std::move(out_); }

 private:
  void WriteByType(const Value& value) {
    switch (value.type()) {
      case Type::kUndefined:
        out_ += "Undefined";
        return;
      case Type::kNone:
        out_ += "None";
        return;
      case Type::kBool:
        out_ += value.boolean() ? "True" : "False";
        return;
      case Type::kInteger:
        absl::StrAppend(&out_, value.integral());
        return;
      case Type::kBigInteger:
        out_ += value.digits();
        return;
      case Type::kFloat:
        out_ += FloatToText(value.number());
        return;
      case Type::kText:
        if (value.is_markup()) out_ += "Markup(";
        AppendQuoted(value.text(), &out_);
        if (value.is_markup()) out_ += ")";
        return;
      case Type::kList:
        WriteList(value);
        return;
      case Type::kObject:
        WriteObject(value.object());
        return;
      case Type::kIterable:
        WriteIterable(value.iterable());
        return;
      case Type::kNamespace:
        if (IsCycler(value)) return FailAddress(value);
        out_ += "<Namespace ";
        WriteObject(value.attributes());
        out_ += ">";
        return;
      case Type::kLoop:
        absl::StrAppend(&out_, "<LoopContext ", value.loop().index + 1, "/", value.loop().items().size(), ">");
        return;
      case Type::kCallable:
        if (value.callable().macro == nullptr) return FailAddress(value);
        out_ += value.callable().macro->is_caller ? "<Macro anonymous>" : "<Macro ";
        if (value.callable().macro->is_caller) return;
        AppendQuoted(value.callable().name, &out_);
        out_ += ">";
        return;
    }
  }

  void FailAddress(const Value& value) {
    runtime_.FailNotImplemented(absl::StrFormat("printing a %s, in which Python writes an address,", TypeName(value)));
  }

  void WriteIterable(const Iterable& iterable) {
    switch (iterable.kind) {
      case IterableKind::kGenerator:
        runtime_.FailNotImplemented("printing a generator, in which Python writes an address,");
        return;
      case IterableKind::kRange:
      case IterableKind::kBytes:
        out_ += iterable.printed;
        return;
      case IterableKind::kKeys:
        out_ += "dict_keys([";
        break;
      case IterableKind::kValues:
        out_ += "dict_values([";
        break;
      case IterableKind::kItems:
        out_ += "dict_items([";
        break;
    }
    WriteItems(iterable.items);
    out_ += "])";
  }

  void WriteItems(const std::vector<Value>& items) {
    for (size_t i = 0; i < items.size() && !runtime_.failed(); ++i) {
      if (i > 0) out_ += ", ";
      Write(items[i]);
    }
  }

  void WriteList(const Value& list) {
    out_ += list.is_tuple() ? "(" : "[";
    WriteItems(list.items());
    if (list.is_tuple() && list.items().size() == 1) out_ += ",";
    out_ += list.is_tuple() ? ")" : "]";
  }

  void WriteObject(const Object& object) {
    out_ += "{";
    for (const Object::Entry& entry : object.entries()) {
      if (runtime_.failed()) return;
      if (&entry != &object.entries().front()) out_ += ", ";
      Write(entry.key);
      out_ += ": ";
      Write(entry.value);
    }
    out_ += "}";
  }

  Runtime& runtime_;
  std::string out_;
  int depth_ = 0;
};

}  // namespace

std::string ToText(Runtime& runtime, const Value& value) {
  if (value.is_text()) return value.text();
  if (value.is_undefined()) return "";
  return ToRepr(runtime, value);
}

void AppendText(Runtime& runtime, const Value& value, TracedText* out) {
  if (value.is_text()) return out->Append(value.traced_text());
  if (!value.has_request_text()) return out->Append(ToText(runtime, value));
  out->Append(TracedText::FromRequest(ToText(runtime, value)));
}

std::string ToRepr(Runtime& runtime, const Value& value) {
  ReprWriter writer(runtime);
  writer.Write(value);
  return writer.Take();
}

std::string FloatToText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  const std::string_view scientific(buffer, static_cast<size_t>(end - buffer));
  const size_t e = scientific.find('e');
  int exponent = 0;
  const size_t digits_start = e + (scientific[e + 1] == '+' ? 2 : 1);
  std::from_chars(scientific.data() + digits_start, scientific.data() + scientific.size(), exponent);
  // Python switches to an exponent below 1e-4 and from 1e16.
  if (exponent >= -4 && exponent < 16) {
    const auto fixed_end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed).ptr;
    std::string fixed(buffer, fixed_end);
    return fixed.find('.') == std::string::npos ? fixed + ".0" : fixed;
  }
  return absl::StrFormat("%se%c%02d", scientific.substr(0, e), exponent < 0 ? '-' : '+', std::abs(exponent));
}

}  // namespace latentd::jinja
