// Scratch memory for drawing a token, per thread; reserved once for the vocabulary. Owned by CpuOps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace latentd::cpu {

struct TokenCandidate {
  float logit = 0.0f;  // after penalties, bias and masks
  int32_t id = 0;
  double weight = 0.0;  // exp((logit - largest) / temperature), a multiple of 2^-32
};

class SampleScratch {
 public:
  struct PerThread {
    std::vector<float> logits;               // [vocab]: after penalties, bias and masks
    std::vector<float> weights;              // [vocab]
    std::vector<uint32_t> marks;             // [vocab], all zero between uses: how often the row has an id
    std::vector<TokenCandidate> candidates;  // up to vocab
  };

  static size_t Bytes(int vocab_size, int num_threads) {
    constexpr size_t kTokenBytes = 2 * sizeof(float) + sizeof(uint32_t) + sizeof(TokenCandidate);
    return static_cast<size_t>(num_threads) * static_cast<size_t>(vocab_size) * kTokenBytes;
  }

  void Reserve(int vocab_size, int num_threads) {
    threads_.resize(static_cast<size_t>(num_threads));
    for (PerThread& thread : threads_) {
      const auto vocab = static_cast<size_t>(vocab_size);
      thread.logits.resize(vocab);
      thread.weights.resize(vocab);
      thread.marks.resize(vocab);
      thread.candidates.reserve(vocab);
    }
  }

  PerThread& ForThread(int thread) { return threads_[static_cast<size_t>(thread)]; }

 private:
  std::vector<PerThread> threads_;
};

}  // namespace latentd::cpu
