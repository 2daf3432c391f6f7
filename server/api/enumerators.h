// Whether an enum has a name for a value. A table with a row for each enumerator asserts that there is none behind its
// last row, so that an enumerator without a row does not compile.
#pragma once

#include <cstddef>
#include <string_view>

namespace latentd {

// Compilers print a value that has a name as Enum::kName, any other as (Enum)7.
template <auto kValue>
consteval bool IsEnumerator() {
  const std::string_view signature = __PRETTY_FUNCTION__;
  return signature.find('(', signature.rfind('=')) == signature.npos;
}

// An enum whose values count from 0 has that many names.
template <class Enum, size_t kCount>
consteval bool HasEnumerators() {
  return IsEnumerator<static_cast<Enum>(kCount - 1)>() && !IsEnumerator<static_cast<Enum>(kCount)>();
}

}  // namespace latentd
