#include "jinja/attribute_path.h"

#include <charconv>
#include <string_view>

#include "jinja/access.h"
#include "jinja/runtime.h"

namespace latentd::jinja {

AttributePath::AttributePath(Runtime& runtime, const Value& attribute) : runtime_(runtime) {
  if (attribute.is_none()) return;
  if (!attribute.is_text()) {
    parts_.push_back(attribute);
    return;
  }
  std::string_view rest = attribute.text();
  while (true) {
    const std::string_view part = rest.substr(0, rest.find('.'));
    int64_t index = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_index = error == std::errc() && end == part.data() + part.size() && index >= 0;
    parts_.push_back(is_index ? Value::Integer(index) : Value::Text(std::string(part)));
    if (part.size() == rest.size()) break;
    rest.remove_prefix(part.size() + 1);
  }
}

Value AttributePath::Follow(const Value& element, const std::optional<Value>& otherwise) const {
  Value value = element;
  for (const Value& part : parts_) {
    if (!runtime_.Spend(1)) return Value();
    value = GetItem(runtime_, value, part);
    if (value.is_undefined() && otherwise) value = *otherwise;
  }
  return value;
}

}  // namespace latentd::jinja
