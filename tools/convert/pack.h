// The subcommand pack: a checkpoint in the CPU backend's own layout, to be mapped and served (docs/converting.md).
#pragma once

#include <cstdint>

#include <absl/status/statusor.h>

#include "tools/convert/conversions.h"

namespace latentd {

// Returns the bytes of the packed file.
absl::StatusOr<uint64_t> Pack(const Route& route);

}  // namespace latentd
