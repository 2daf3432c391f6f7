// Every format of the latent cache under the whole model: the equalities of ops.h hold in each, and what a smaller one
// costs is bounded.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <numeric>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/model_session.h"
#include "tests/support/same_bytes.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {
namespace {

const char* const kTinyTales = "models/tiny-tales";

std::vector<int32_t> RandomIds(size_t count, unsigned seed, int vocab_size) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<unsigned>(vocab_size));
  return ids;
}

class LatentFormats : public testing::TestWithParam<LatentFormat> {
 protected:
  ModelSession::Options Options(int num_threads = 1, uint64_t block_seed = 0) const {
    return {.num_threads = num_threads, .latents = GetParam(), .block_seed = block_seed};
  }

  // Whole = chunked, alone = batched, any blocks, any threads.
  void ExpectEqualities(const std::filesystem::path& directory) const {
    ModelSession session(directory, Options());
    const int vocab_size = std::min(session.config().vocab_size, 4000);
    const std::vector<int32_t> ids = RandomIds(150, 1, vocab_size), others = RandomIds(90, 2, vocab_size);
    const auto all = AllPositions(ids.size());
    const LogitRows expected = session.Run(ids, all);
    for (const int chunk : {1, 7, 64}) {
      EXPECT_TRUE(SameBytes(session.Run(ids, all, chunk), expected)) << "chunks of " << chunk;
    }
    for (const uint64_t seed : {1, 2}) {
      EXPECT_TRUE(SameBytes(ModelSession(directory, Options(1, seed)).Run(ids, all, 33), expected)) << "seed " << seed;
    }
    EXPECT_TRUE(SameBytes(ModelSession(directory, Options(3)).Run(ids, all), expected)) << "three threads";
    const int first = session.AddSequence(), second = session.AddSequence();
    const LogitRows together = session.Step(
        {{.sequence = first, .ids = others, .wanted = {}}, {.sequence = second, .ids = ids, .wanted = all}});
    EXPECT_TRUE(SameBytes(together, expected)) << "in company";
  }
};

TEST_P(LatentFormats, KeepTheEqualitiesOnTheBundledModel) { ExpectEqualities(kTinyTales); }

// Latents 40 wide: a slot of FP8 is 76 bytes, and no vector's multiple.
TEST_P(LatentFormats, KeepTheEqualitiesAtOddWidths) {
  const TemporaryDirectory directory;
  WriteTinyCheckpoint({}, directory.path());
  ExpectEqualities(directory.path());
}
INSTANTIATE_TEST_SUITE_P(All, LatentFormats,
                         testing::Values(LatentFormat::kF32, LatentFormat::kBf16, LatentFormat::kFp8),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

// Σ -ln p of each next token.
double Loss(const LogitRows& logits, const std::vector<int32_t>& ids) {
  double total = 0.0;
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    const double largest = *std::max_element(logits[i].begin(), logits[i].end());
    const double sum = std::accumulate(logits[i].begin(), logits[i].end(), 0.0, [&](double so_far, float logit) {
      return so_far + std::exp(static_cast<double>(logit) - largest);
    });
    total += largest + std::log(sum) - static_cast<double>(logits[i][static_cast<size_t>(ids[i + 1])]);
  }
  return total;
}

double SumOfSquares(const LogitRows& a, const LogitRows& b) {
  double sum = 0.0;
  for (size_t row = 0; row < a.size(); ++row) {
    for (size_t i = 0; i < a[row].size(); ++i) sum += std::pow(double{a[row][i]} - double{b[row][i]}, 2);
  }
  return sum;
}

// On texts that the model was not trained on. A rounded latent may tip the choice of an expert, which changes single
// logits by whole units in any format: their root mean square is bounded, not the largest.
TEST(LatentFormat, SmallerOnesCostLittle) {
  std::ifstream file("tests/data/tiny-tales/goldens-fp8.json");
  const nlohmann::json documents = nlohmann::json::parse(file)["held_text"]["documents"];
  ModelSession exact(kTinyTales, {.latents = LatentFormat::kF32});
  struct Cost {
    LatentFormat format;
    double most_logit, most_perplexity;  // root mean square difference; relative difference
  };
  for (const Cost& cost : {Cost{LatentFormat::kBf16, 0.1, 0.002}, Cost{LatentFormat::kFp8, 0.3, 0.01}}) {
    ModelSession session(kTinyTales, {.latents = cost.format});
    double squares = 0.0, added_loss = 0.0, tokens = 0.0;
    for (const nlohmann::json& document : documents) {
      const auto ids = document["ids"].get<std::vector<int32_t>>();
      const LogitRows logits = session.Run(ids, AllPositions(ids.size()));
      const LogitRows expected = exact.Run(ids, AllPositions(ids.size()));
      squares += SumOfSquares(logits, expected) / static_cast<double>(exact.config().vocab_size);
      added_loss += Loss(logits, ids) - Loss(expected, ids);
      tokens += static_cast<double>(ids.size());
    }
    const double difference = std::sqrt(squares / tokens);
    const double perplexity = std::exp(added_loss / (tokens - static_cast<double>(documents.size()))) - 1.0;
    std::cout << NameOf(cost.format) << ": root mean square difference of a logit " << difference
              << ", difference of the perplexity " << 100.0 * perplexity << " %\n";
    EXPECT_GT(difference, 0.0);
    EXPECT_LT(difference, cost.most_logit);
    EXPECT_LT(std::fabs(perplexity), cost.most_perplexity);
  }
}

}  // namespace
}  // namespace latentd
