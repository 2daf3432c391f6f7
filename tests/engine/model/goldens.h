// Recorded values of a model (tests/data/tiny-tales, and the families outside the repository), by prompt.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/model/checkpoint/safetensors.h"
#include "tests/support/forward_recorder.h"

namespace latentd {

class Goldens {
 public:
  explicit Goldens(const std::filesystem::path& file);

  const std::vector<std::string>& prompts() const { return prompts_; }  // names of the prompts
  const std::vector<std::string>& names() const { return names_; }      // of all tensors
  bool Has(const std::string& tensor) const;
  std::vector<int32_t> Ints(const std::string& tensor) const { return Read<int32_t>(tensor); }
  std::vector<float> Floats(const std::string& tensor) const { return Read<float>(tensor); }

 private:
  template <class T>
  std::vector<T> Read(const std::string& tensor) const;

  SafetensorsFile file_;
  std::vector<std::string> prompts_;
  std::vector<std::string> names_;
};

// The routings of one step with the whole prompt are those recorded: the same experts, weights within the bound.
void ExpectExperts(const ForwardRecord& record, const Goldens& goldens, const std::string& prompt, double bound);

}  // namespace latentd
