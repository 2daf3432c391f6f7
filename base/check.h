// Invariants that only our own code can break: a violation stops the process, with both values on one line.
// Errors that the world can cause are an absl::Status instead.
#pragma once

#include <iostream>
#include <sstream>

namespace latentd::internal {

[[noreturn]] void CheckFailed(const char* file, int line, const std::string& what);

template <class A, class B>
[[noreturn]] void CheckOpFailed(const char* file, int line, const char* expression, const A& a, const B& b) {
  std::ostringstream text;
  text << expression << " (" << a << " vs " << b << ")";
  CheckFailed(file, line, text.str());
}

}  // namespace latentd::internal

#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::latentd::internal::CheckFailed(__FILE__, __LINE__, #condition))

#define LATENTD_CHECK_OP(a, op, b)                                                                 \
  do {                                                                                             \
    const auto& check_a = (a);                                                                     \
    const auto& check_b = (b);                                                                     \
    if (!(check_a op check_b))                                                                     \
      ::latentd::internal::CheckOpFailed(__FILE__, __LINE__, #a " " #op " " #b, check_a, check_b); \
  } while (false)

#define CHECK_EQ(a, b) LATENTD_CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) LATENTD_CHECK_OP(a, !=, b)
#define CHECK_LT(a, b) LATENTD_CHECK_OP(a, <, b)
#define CHECK_LE(a, b) LATENTD_CHECK_OP(a, <=, b)
#define CHECK_GT(a, b) LATENTD_CHECK_OP(a, >, b)
#define CHECK_GE(a, b) LATENTD_CHECK_OP(a, >=, b)
