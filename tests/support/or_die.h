// Values that a test or a benchmark cannot go on without.
#pragma once

#include <iostream>
#include <utility>

#include <absl/status/statusor.h>

#include "base/check.h"

namespace latentd {

template <class T>
T OrDie(absl::StatusOr<T> value) {
  if (!value.ok()) std::cerr << value.status().message() << std::endl;
  CHECK(value.ok());
  return *std::move(value);
}

}  // namespace latentd
