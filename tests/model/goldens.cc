#include "tests/model/goldens.h"

#include <algorithm>
#include <cstring>

#include "kernels/check.h"
#include "tests/support/or_die.h"

namespace latentd {
Goldens::Goldens(const std::filesystem::path& file) : file_(OrDie(SafetensorsFile::Open(file))) {
  for (const SafetensorsEntry& entry : file_.entries()) {
    if (entry.name.starts_with("ids.")) prompts_.push_back(entry.name.substr(4));
  }
  std::sort(prompts_.begin(), prompts_.end());
  CHECK(!prompts_.empty());
}

template <class T>
std::vector<T> Goldens::Read(const std::string& tensor) const {
  const auto entry = std::find_if(file_.entries().begin(), file_.entries().end(),
                                  [&](const SafetensorsEntry& e) { return e.name == tensor; });
  CHECK(entry != file_.entries().end());
  const std::span<const std::byte> bytes = file_.BytesOf(*entry);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

template std::vector<int32_t> Goldens::Read(const std::string&) const;
template std::vector<float> Goldens::Read(const std::string&) const;

}  // namespace latentd
