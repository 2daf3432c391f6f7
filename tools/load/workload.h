// The requests of a run: request i is a function of the options, the seed and i.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"
#include "tools/load/seeded_random.h"

namespace latentd {

// Numbers of tokens: fixed where the deviation is 0, else normal, rounded and cut to [min, max].
struct LengthDistribution {
  double mean = 64.0;
  double deviation = 0.0;
  uint32_t min = 64;
  uint32_t max = 64;

  uint32_t Draw(SeededRandom& random) const;
};

// "N" or "MEAN:DEVIATION" (1 to four deviations above the mean) or "MEAN:DEVIATION:MIN:MAX".
absl::StatusOr<LengthDistribution> ParseLengths(std::string_view flag, std::string_view text);

struct WorkloadOptions {
  uint64_t seed = 0;
  LengthDistribution prompt_tokens = {};  // of random ids; texts and JSONL bring their own
  LengthDistribution output_tokens = {};  // JSONL lines may bring their own
  std::vector<std::string> texts = {};    // used in turn; empty: random token ids
  std::string jsonl_file = {};            // used in turn; empty: none
  bool ignore_eos = true;
  bool asks_for_token_ids = false;
  v1::Sampling sampling = {};               // of every request; its seed is set per request
  std::optional<uint32_t> max_drafts = {};  // none: the server's default

  double cancel_fraction = 0.0;
  double deadline_fraction = 0.0;
  double min_deadline_seconds = 0.02;
  double max_deadline_seconds = 0.2;
};

// That the request asks for; as many as a server gives at most, where it asks for more and will be refused.
uint32_t NumAnswers(const v1::GenerateRequest& request);

enum class PlannedEnd : uint8_t { kCompletion, kCancel, kRpcDeadline, kServerTimeout };

struct PlannedRequest {
  uint64_t index = 0;
  v1::GenerateRequest message;
  PlannedEnd planned_end = PlannedEnd::kCompletion;
  uint32_t cancel_after_tokens = 0;  // 0: once the server admitted it, before its first token
  double rpc_deadline_seconds = 0.0;
};

class Workload {
 public:
  // Reads the JSONL file and holds the lengths against the model's limits.
  static absl::StatusOr<Workload> Make(WorkloadOptions options, const v1::Model& model);

  PlannedRequest Plan(uint64_t index) const;
  const WorkloadOptions& options() const { return options_; }

 private:
  Workload(WorkloadOptions options, const v1::Model& model, std::vector<v1::GenerateRequest> lines);

  void PlanEnd(SeededRandom& random, PlannedRequest& request) const;
  void SetPrompt(SeededRandom& random, PlannedRequest& request) const;

  WorkloadOptions options_;
  std::vector<v1::GenerateRequest> lines_;  // of the JSONL file
  uint64_t vocab_size_;
  std::vector<uint32_t> special_ids_;  // ascending
};

}  // namespace latentd
