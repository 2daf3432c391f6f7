// How far the weights are while they are read, in numbers and in words.
#pragma once

#include <cstdint>
#include <string>

namespace latentd {

struct BytesRead {
  uint64_t read = 0;
  uint64_t total = 0;
  double seconds = 0.0;
};

// "weights: 1.21 of 2.04 GB (59 %), 1.63 GB/s, 1 s left"
std::string ProgressText(const BytesRead& bytes);
// Until the weights are read, at the rate so far; 0 where there is none yet.
double SecondsLeft(const BytesRead& bytes);
// How far loading has come, in words.
std::string StageText(const BytesRead& bytes);
// "weights: 2.04 GB in 1.25 s (1.63 GB/s)"
std::string SummaryText(const BytesRead& bytes);

}  // namespace latentd
