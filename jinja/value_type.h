// The kinds of values that a template computes with.
#pragma once

#include <cstdint>

namespace latentd::jinja {

// In the order of Value's alternatives.
enum class Type : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInteger,
  kBigInteger,  // digits beyond 64 bits: can be printed and compared, not computed with
  kFloat,
  kText,
  kList,  // list or tuple
  kObject,
  kIterable,  // what Python loops over beside these: generators, views of a dict, ranges, bytes
  kNamespace,
  kLoop,
  kCallable,
};

// What Python loops over beside lists and objects.
enum class IterableKind : uint8_t { kGenerator, kKeys, kValues, kItems, kRange, kBytes };

}  // namespace latentd::jinja
