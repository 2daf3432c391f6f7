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
#include "tools/load/behaviour.h"
#include "tools/load/lengths.h"
#include "tools/load/seeded_random.h"
#include "tools/load/shares.h"
#include "tools/load/trace.h"

namespace latentd {

struct WorkloadOptions {
  uint64_t seed = 0;
  LengthDistribution prompt_tokens = {};  // of random ids; texts and JSONL bring their own
  LengthDistribution output_tokens = {};  // JSONL lines may bring their own
  std::vector<std::string> texts = {};    // used in turn; empty: random token ids
  std::string jsonl_file = {};            // used in turn; empty: none
  std::string trace_file = {};            // each entry once; empty: none
  uint32_t trace_block_tokens = kTraceBlockTokens;
  // Random ids that stand before the prompt's own and are the same in each request of a group.
  std::optional<LengthDistribution> prefix_tokens = {};
  uint32_t prefix_groups = 1;
  uint32_t turns = 1;  // of a conversation of random ids: each prompt is all that was said, and new ids
  bool ignore_eos = true;
  bool asks_for_token_ids = false;
  v1::Sampling sampling = {};               // of every request; its seed is set per request
  std::optional<uint32_t> max_drafts = {};  // none: the server's default
  std::vector<TenantShare> tenants = {};    // empty: none is named
  std::vector<PriorityShare> priorities = {};

  std::vector<BehaviourShare> adversaries = {};
  bool accepts_refusals = false;  // of well-behaved requests, too, where the server is full
  double min_deadline_seconds = 0.02;
  double max_deadline_seconds = 0.2;
};

// That the request asks for; as many as a server gives at most, where it asks for more and will be refused.
uint32_t NumAnswers(const v1::GenerateRequest& request);

struct PlannedRequest {
  uint64_t index = 0;
  v1::GenerateRequest message;
  Behaviour behaviour = Behaviour::kWell;
  bool may_be_refused = false;
  uint32_t cancel_after_tokens = 0;  // kCancelDecode
  double rpc_deadline_seconds = 0.0;
  size_t tenant = 0;                   // in the options' tenants, where there are any
  std::vector<uint32_t> history = {};  // as its Turn's
};

// Which request of a workload, and what was said before it.
struct Turn {
  uint64_t index = 0;
  std::vector<uint32_t> history = {};  // the last turn's prompt and answer
};

class Workload {
 public:
  // Reads the files and holds the lengths against the model's limits.
  static absl::StatusOr<Workload> Make(WorkloadOptions options, const v1::Model& model);

  PlannedRequest Plan(const Turn& turn) const;
  PlannedRequest Plan(uint64_t index) const { return Plan(Turn{.index = index}); }
  // The turn after `request`, which is as Plan made it; none after a conversation's last.
  std::optional<Turn> Next(const PlannedRequest& request, const std::vector<uint32_t>& answer) const;
  const WorkloadOptions& options() const { return options_; }
  bool is_trace() const { return !trace_.empty(); }
  std::vector<double> RecordedSeconds() const;

 private:
  Workload(WorkloadOptions options, const v1::Model& model);

  using Ids = google::protobuf::RepeatedField<uint32_t>;

  absl::Status ReadFiles();
  absl::Status CheckContext(uint32_t context) const;
  void PlanBehaviour(SeededRandom& random, PlannedRequest& request) const;
  void Misbehave(double where, PlannedRequest& request) const;
  void Malform(double where, v1::GenerateRequest& message) const;
  void Oversize(double where, v1::GenerateRequest& message) const;
  void PlanParty(PlannedRequest& request) const;
  void SetLengths(SeededRandom& random, PlannedRequest& request) const;
  void SetPrompt(SeededRandom& random, const std::vector<uint32_t>& history, PlannedRequest& request) const;
  void AppendPrefix(uint64_t conversation, Ids& ids) const;
  void ReplayPrompt(SeededRandom& random, const TraceEntry& entry, Ids& ids) const;
  void AppendRandom(SeededRandom& random, uint32_t num_tokens, Ids& ids) const;

  WorkloadOptions options_;
  std::vector<v1::GenerateRequest> lines_;  // of the JSONL file
  std::vector<TraceEntry> trace_;
  uint64_t vocab_size_;
  uint32_t max_context_tokens_;
  uint64_t max_message_bytes_;
  std::vector<uint32_t> special_ids_;  // ascending
};

}  // namespace latentd
