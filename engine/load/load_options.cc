#include "engine/load/load_options.h"

#include <filesystem>

namespace latentd {

GenerationSource GenerationSourceOf(const std::string& generation_config) {
  if (generation_config == "auto") return {};
  if (generation_config == "none") return {.file = {}, .part = GenerationPart::kTokenIds};
  const std::filesystem::path path = generation_config;
  std::error_code error;  // what cannot be looked at cannot be read either, and that tells why
  return {.file = std::filesystem::is_directory(path, error) ? path / "generation_config.json" : path,
          .part = GenerationPart::kAll};
}

}  // namespace latentd
