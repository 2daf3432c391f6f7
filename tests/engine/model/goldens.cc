#include "tests/engine/model/goldens.h"

#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/support/or_die.h"

namespace latentd {
Goldens::Goldens(const std::filesystem::path& file) : file_(OrDie(SafetensorsFile::Open(file))) {
  for (const SafetensorsEntry& entry : file_.entries()) {
    names_.push_back(entry.name);
    if (entry.name.starts_with("ids.")) prompts_.push_back(entry.name.substr(4));
  }
  std::sort(prompts_.begin(), prompts_.end());
  CHECK(!prompts_.empty());
}

bool Goldens::Has(const std::string& tensor) const {
  return std::find(names_.begin(), names_.end(), tensor) != names_.end();
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

void ExpectExperts(const ForwardRecord& record, const Goldens& goldens, const std::string& prompt, double bound) {
  const std::vector<int32_t> experts = goldens.Ints("experts." + prompt);
  const std::vector<float> weights = goldens.Floats("expert_weights." + prompt);
  size_t next = 0;
  for (size_t layer = 0; layer < record.routings.size(); ++layer) {
    for (const std::vector<ChosenExpert>& token : record.routings[layer]) {
      for (const ChosenExpert& chosen : token) {
        ASSERT_LT(next, experts.size()) << prompt;
        ASSERT_EQ(chosen.expert, experts[next]) << prompt << " expert layer " << layer << " value " << next;
        ASSERT_NEAR(chosen.weight, weights[next], bound) << prompt << " expert layer " << layer << " value " << next;
        ++next;
      }
    }
  }
  EXPECT_EQ(next, experts.size()) << prompt;
  EXPECT_EQ(next, weights.size()) << prompt;
}

}  // namespace latentd
