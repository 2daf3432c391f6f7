// The findings and the corpus of fuzzing, run once through each target by the ordinary build.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fuzz/targets.h"

namespace latentd {
namespace {

class FuzzCorpus : public ::testing::TestWithParam<FuzzTarget> {};

TEST_P(FuzzCorpus, EveryInputObeysTheLaws) {
  std::vector<std::filesystem::path> paths;
  const std::filesystem::path corpus = std::filesystem::path("tests/fuzz/corpus") / GetParam().name;
  for (const auto& entry : std::filesystem::directory_iterator(corpus)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  ASSERT_GE(paths.size(), 5u) << corpus;
  for (const std::filesystem::path& path : paths) {
    std::ifstream file(path, std::ios::binary);
    const std::string input{std::istreambuf_iterator<char>(file), {}};
    ASSERT_TRUE(file) << path;
    std::cerr << path.string() << std::endl;  // A broken law ends the process: the last line says whose.
    GetParam().run(input);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FuzzCorpus, ::testing::ValuesIn(kFuzzTargets),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

}  // namespace
}  // namespace latentd
