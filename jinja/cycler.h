// Told apart from other namespaces by a key that no template can set.
#pragma once

#include "jinja/value.h"

namespace latentd::jinja {

inline void MarkCycler(Object& attributes) { attributes.Set(Value::None(), Value::None()); }

// A cycler looks like a namespace, but prints in another way and takes no attributes.
inline bool IsCycler(const Value& value) {
  return value.type() == Type::kNamespace && value.attributes().Find(Value::None()) != nullptr;
}

}  // namespace latentd::jinja
