// The bench's own model: what `latent-convert random --config` makes of BenchShape's config.json.
#pragma once

#include <filesystem>
#include <string>

#include <absl/status/status.h>

#include "tests/bench/bench_shape.h"

namespace latentd {

std::string ConfigJson(const BenchShape& shape);
// `directory` must not exist, the one that it is to be in must; FP8 weights with a scale for each block of 128 x 128.
// The configuration lies beside it from then on.
absl::Status WriteRandomModel(const BenchShape& shape, const std::filesystem::path& directory);

}  // namespace latentd
