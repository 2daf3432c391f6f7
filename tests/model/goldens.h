// The recorded values of tests/data/tiny-tales, by prompt.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/model/safetensors.h"

namespace latentd {

class Goldens {
 public:
  explicit Goldens(const std::filesystem::path& file);

  const std::vector<std::string>& prompts() const { return prompts_; }  // names of the prompts
  std::vector<int32_t> Ints(const std::string& tensor) const { return Read<int32_t>(tensor); }
  std::vector<float> Floats(const std::string& tensor) const { return Read<float>(tensor); }

 private:
  template <class T>
  std::vector<T> Read(const std::string& tensor) const;

  SafetensorsFile file_;
  std::vector<std::string> prompts_;
};

}  // namespace latentd
