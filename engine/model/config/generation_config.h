// The content of a generation_config.json: ids that begin and end texts, and defaults of requests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace latentd {

// Nothing where the file says nothing.
struct GenerationDefaults {
  std::optional<double> temperature;  // 0 where the file wants no sampling
  std::optional<double> top_p;
  std::optional<int> top_k;  // 0: all
  std::optional<double> min_p;
  std::optional<double> presence_penalty;
  std::optional<double> frequency_penalty;
  std::optional<double> repetition_penalty;
  std::optional<int> max_tokens;
  std::optional<int> min_tokens;
  std::vector<std::string> stop;
  std::vector<std::string> left_aside;  // keys that ask for unsupported features
};

struct GenerationConfig {
  std::optional<int32_t> bos_id;
  std::vector<int32_t> eos_ids;
  GenerationDefaults defaults;
};

enum class GenerationPart : uint8_t { kAll, kTokenIds };  // kTokenIds: the defaults are not even looked at

struct GenerationSource {
  std::filesystem::path file;  // must be there; empty: the directory's generation_config.json, which need not
  GenerationPart part = GenerationPart::kAll;
};

// NOT_FOUND where there is no such file.
absl::StatusOr<GenerationConfig> ReadGenerationConfig(const std::filesystem::path& file, int vocab_size,
                                                      GenerationPart part);

}  // namespace latentd
