#include "tools/doctor/vectors.h"

#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

Vectors Of(const std::string& cpuinfo) {
  const TemporaryDirectory folder;
  std::filesystem::create_directories(folder.path() / "proc");
  std::ofstream(folder.path() / "proc/cpuinfo") << cpuinfo;
  return ReadVectors(folder.path());
}

constexpr char kAvx2Flags[] = "processor\t: 0\nflags\t\t: fpu avx avx2 fma f16c bmi2";

TEST(Vectors, AreTheWidestThatAllTheirPartsAreThereOf) {
  EXPECT_EQ(Of("processor\t: 0\nflags\t\t: fpu sse2 avx\n"), Vectors::kScalar);
  EXPECT_EQ(Of(std::string(kAvx2Flags) + "\n"), Vectors::kAvx2);
  EXPECT_EQ(Of(std::string(kAvx2Flags) + " avx512f avx512vl\n"), Vectors::kAvx2);
  EXPECT_EQ(Of(std::string(kAvx2Flags) + " avx512f avx512vl avx512dq avx512bw avx512cd\n"), Vectors::kAvx512);
}

TEST(Vectors, AreUnknownElsewhere) {
  EXPECT_EQ(Of("processor\t: 0\nFeatures\t: fp asimd\n"), Vectors::kUnknown);
  EXPECT_EQ(Of(""), Vectors::kUnknown);
}

}  // namespace
}  // namespace latentd
