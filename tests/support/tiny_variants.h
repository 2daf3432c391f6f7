// The kinds of checkpoints that latentd loads, small and random, by name: tests that must hold for every variant
// iterate over this list.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "tests/support/tiny_checkpoint.h"

namespace latentd {

struct TinyVariant {
  std::string name;
  TinyCheckpoint checkpoint;
};
inline std::ostream& operator<<(std::ostream& out, const TinyVariant& variant) { return out << variant.name; }

const std::vector<TinyVariant>& TinyVariants();

}  // namespace latentd
