// What the index of a packed file must say.
#include "engine/model/checkpoint/packed_index.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/or_die.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

const PackedIndex kIndex = {.config_digest = 0xfedcba9876543210,
                            .source_digest = 7,
                            .num_mtp_layers = 1,
                            .tensors = {{.name = "a",
                                         .dtype = DType::kE4M3,
                                         .shape = {128, 256},
                                         .begin = 256,
                                         .scales = 33024,
                                         .end = 33032,
                                         .digest = 9},
                                        {.name = "b",
                                         .dtype = DType::kF32,
                                         .shape = {8},
                                         .begin = 33280,
                                         .scales = 33312,
                                         .end = 33312,
                                         .digest = 10}}};

nlohmann::json Json() { return nlohmann::json::parse(PackedIndexText(kIndex)); }

TEST(PackedIndexText, IsReadAsItWasWritten) {
  const PackedIndex index = OrDie(ParsePackedIndex(PackedIndexText(kIndex)));
  EXPECT_EQ(PackedIndexText(index), PackedIndexText(kIndex));
  EXPECT_EQ(index.config_digest, kIndex.config_digest);
  EXPECT_EQ(index.source_digest, kIndex.source_digest);
  EXPECT_EQ(index.num_mtp_layers, 1);
  EXPECT_EQ(index.tensors.size(), 2u);
}

TEST(PackedIndexText, WithoutOneOfItsFactsIsRefused) {
  const nlohmann::json whole = Json();
  for (const auto& [fact, value] : whole.items()) {
    nlohmann::json without = whole;
    without.erase(fact);
    EXPECT_THAT(std::string(ParsePackedIndex(without.dump()).status().message()),
                HasSubstr("expected '" + fact + "', found none"));
  }
}

TEST(PackedIndexText, WithoutOneOfATensorsFactsIsRefused) {
  const nlohmann::json whole = Json();
  for (const size_t tensor : {size_t{0}, size_t{1}}) {
    for (const auto& [field, value] : whole["tensors"][tensor].items()) {
      nlohmann::json without = whole;
      without["tensors"][tensor].erase(field);
      EXPECT_THAT(std::string(ParsePackedIndex(without.dump()).status().message()),
                  HasSubstr("expected '" + field + "', found none"))
          << tensor;
    }
  }
}

TEST(PackedIndexText, WithACountThatIsNoneIsRefused) {
  for (const char* count : {"-1", "1.5", "\"1\"", "null", "3000000000"}) {
    nlohmann::json wrong = Json();
    wrong["mtp_layers"] = nlohmann::json::parse(count);
    EXPECT_FALSE(ParsePackedIndex(wrong.dump()).ok()) << count;
  }
}

}  // namespace
}  // namespace latentd
