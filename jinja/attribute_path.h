// The `attribute='a.b.0'` argument of filters: a path of items that each element of a sequence is followed along.
#pragma once

#include <optional>
#include <vector>

#include "jinja/value.h"

namespace latentd::jinja {

class Runtime;

class AttributePath {
 public:
  // `attribute` is text, an integer, or none for the element itself.
  AttributePath(Runtime& runtime, const Value& attribute);

  // With `otherwise` given, it stands in wherever the path leads to nothing.
  Value Follow(const Value& element, const std::optional<Value>& otherwise = std::nullopt) const;

 private:
  Runtime& runtime_;
  std::vector<Value> parts_;
};

}  // namespace latentd::jinja
