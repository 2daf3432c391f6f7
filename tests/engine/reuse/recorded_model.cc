#include "tests/engine/reuse/recorded_model.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>

#include <absl/strings/str_cat.h>

#include "base/check.h"
#include "engine/step/acceptance.h"
#include "tests/support/forwarding_ops.h"
#include "tests/support/load_directory.h"
#include "tests/support/or_die.h"
#include "tests/support/same_bytes.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_variants.h"

namespace latentd {
namespace {

constexpr int kColdBlocks = (RecordedModel::kMaxContext + kBlockSlots - 1) / kBlockSlots;

const std::filesystem::path& DirectoryOf(const ModelKind& kind) {
  static const std::filesystem::path bundled = "models/tiny-tales";
  if (!kind.checkpoint.has_value()) return bundled;
  // Written once for all tests: kinds of one variant differ behind the double underscore.
  static std::map<std::string, TemporaryDirectory> directories;
  const auto [place, is_new] = directories.try_emplace(kind.name.substr(0, kind.name.find("__")));
  if (is_new) WriteTinyCheckpoint(*kind.checkpoint, place->second.path());
  return place->second.path();
}

void AddKinds(const std::string& name, const std::optional<TinyCheckpoint>& checkpoint, std::vector<ModelKind>& kinds) {
  const bool is_fp8 = !checkpoint.has_value() || checkpoint->projections == DType::kE4M3;
  const Backend backend = OrDie(MakeCpuBackend(1));
  for (const ActivationFormat activations : backend.ops->activation_formats()) {
    if (activations == ActivationFormat::kE4M3 && !is_fp8) continue;
    for (const LatentFormat latents : backend.ops->latent_formats(activations)) {
      kinds.push_back({.name = absl::StrCat(name, "__", std::string(NameOf(activations)), "_activations_",
                                            std::string(NameOf(latents)), "_latents"),
                       .checkpoint = checkpoint,
                       .latents = latents,
                       .activations = activations});
    }
  }
}

// The step of one sequence that has so many tokens computed, in the blocks that are Cold's.
BatchInputs ColdStep(std::span<const int32_t> tokens, int first_position, int first_logit_position) {
  BatchInputs batch;
  const auto num_tokens = static_cast<int>(tokens.size());
  batch.rows.push_back({.first_token = 0, .num_tokens = num_tokens - first_position, .first_position = first_position});
  for (int block = 0; block < kColdBlocks; ++block) batch.blocks.push_back(RecordedModel::kEngineBlocks + block);
  for (int position = first_position; position < num_tokens; ++position) {
    if (position >= first_logit_position) batch.logit_tokens.push_back(batch.num_tokens());
    batch.token_ids.push_back(tokens[static_cast<size_t>(position)]);
    batch.positions.push_back(position);
    batch.slots.push_back(RecordedModel::kEngineBlocks * kBlockSlots + position);
    batch.token_rows.push_back(0);
  }
  return batch;
}

SampleRow ScoreRow(int32_t id, const Request& request) {
  return {.scored_id = id, .num_top_logprobs = request.answer.num_prompt_logprobs};
}

SampleRow DrawRow(const Request& request, int32_t index, std::span<const int32_t> tokens) {
  return {.rule = request.sampling,
          .index = static_cast<uint32_t>(index),
          .position = static_cast<uint32_t>(tokens.size()),
          .tokens = tokens,
          .num_prompt_tokens = static_cast<int>(request.prompt.size()),
          .num_top_logprobs = request.answer.num_top_logprobs};
}

}  // namespace

std::vector<ModelKind> BundledKinds() {
  std::vector<ModelKind> kinds;
  AddKinds("tiny_tales", std::nullopt, kinds);
  return kinds;
}

std::vector<ModelKind> TinyKinds() {
  constexpr size_t kShare = 3;
  std::vector<ModelKind> kinds;
  size_t first = 0;
  for (const TinyVariant& variant : TinyVariants()) {
    std::vector<ModelKind> all;
    AddKinds(variant.name, variant.checkpoint, all);
    for (size_t i = first++ % kShare; i < all.size(); i += kShare) kinds.push_back(all[i]);
  }
  return kinds;
}

std::vector<ModelKind> DraftingKinds(const std::vector<ModelKind>& kinds) {
  std::vector<ModelKind> drafting;
  for (ModelKind kind : kinds) {
    if (kind.checkpoint.has_value() && kind.checkpoint->num_mtp_layers == 0) continue;
    kind.mtp = MtpUse::kDraft;
    drafting.push_back(std::move(kind));
  }
  return drafting;
}

void Answer::Append(const SampleResult& result) {
  ids.push_back(result.id);
  logprobs.push_back(result.logprob);
  logprobs.push_back(result.sampled_logprob);
  std::vector<float>& row = logits.emplace_back();
  row.reserve(result.top.size());
  for (const TokenLogprob& value : result.top) row.push_back(value.logprob);
}

testing::AssertionResult SameAnswer(const Answer& a, const Answer& b) {
  if (testing::AssertionResult same = SameBytes(a.logits, b.logits); !same) {
    return testing::AssertionFailure() << "logits: " << same.message();
  }
  if (a.ids != b.ids) return testing::AssertionFailure() << "other ids";
  return SameBytes(std::span(a.logprobs), std::span(b.logprobs));
}

// Keeps the first logits that a step sampled, which are not those of its drafts, and knows where the latents are.
class RecordedModel::Recorder final : public ForwardingOps {
 public:
  explicit Recorder(Ops& to) : ForwardingOps(to) {}

  void AppendLatent(Tensor kv, const float* weight, float epsilon, const Batch& batch, const RopeTable& rope,
                    LatentPages pages) override {
    pages_.insert_or_assign(pages.bytes, pages);
    for (const int32_t position : batch.positions) EXPECT_LT(position, rope.angles.rows) << "is behind the context";
    ForwardingOps::AppendLatent(kv, weight, epsilon, batch, rope, pages);
  }
  void Sample(const Batch& batch, Tensor logits) override {
    ForwardingOps::Sample(batch, logits);
    if (std::exchange(has_logits_, true)) return;
    logits_.resize(static_cast<size_t>(logits.rows));
    for (int row = 0; row < logits.rows; ++row) {
      logits_[static_cast<size_t>(row)].assign(logits.Row(row), logits.Row(row) + logits.width);
    }
  }
  void BeginStep() { has_logits_ = false; }

  // All bits set are no number in any format.
  void Erase(int first_block, int num_blocks) {
    for (const auto& [bytes, pages] : pages_) {
      std::memset(pages.Slot(first_block * kBlockSlots), 0xFF, static_cast<size_t>(num_blocks) * pages.block_bytes());
    }
  }
  const std::vector<std::vector<float>>& logits() const { return logits_; }

  // The slots of these positions hold the same bytes in blocks as in cold_blocks.
  testing::AssertionResult SameSlots(int layer, std::span<const int32_t> blocks, int first_cold_block,
                                     DraftedSlots positions) const {
    const LatentPages& pages = std::next(pages_.begin(), layer)->second;
    for (int position = positions.from; position < positions.to; ++position) {
      const int block = position / kBlockSlots, offset = position % kBlockSlots;
      const std::byte* const slot = pages.Slot(blocks[static_cast<size_t>(block)] * kBlockSlots + offset);
      const std::byte* const cold = pages.Slot((first_cold_block + block) * kBlockSlots + offset);
      if (std::memcmp(slot, cold, pages.slot_bytes()) != 0) {
        return testing::AssertionFailure() << "layer " << layer << " of " << pages_.size() << ", position " << position
                                           << " of " << positions.from << " to " << positions.to;
      }
    }
    return testing::AssertionSuccess();
  }
  int num_layers() const { return static_cast<int>(pages_.size()); }

 private:
  std::map<std::byte*, LatentPages> pages_;  // of each layer, in their order: they lie so
  std::vector<std::vector<float>> logits_;
  bool has_logits_ = false;  // of this step
};

class RecordedModel::Executor final : public StepExecutor {
 public:
  explicit Executor(RecordedModel& model)
      : executor_(*model.model_, model.backend_), recorder_(*model.recorder_), known_answers_(model.known_answers_) {}

  void Launch(const BatchInputs& batch, std::span<const SampleRow> samples, std::span<const DraftRow> drafts) override {
    batch_ = &batch;
    draft_rows_ = drafts;
    recorder_.BeginStep();
    executor_.Launch(batch, samples, drafts);
  }
  std::span<SampleResult> Collect() override {
    const std::span<SampleResult> results = executor_.Collect();
    const std::span<const Drafts> drafts = executor_.drafts();
    drafts_.assign(drafts.begin(), drafts.end());
    CHECK_EQ(drafts_.size(), draft_rows_.size());
    for (size_t i = 0; i < drafts_.size(); ++i) Correct(draft_rows_[i], results, drafts_[i]);
    for (size_t i = 0; i < results.size(); ++i) {
      const std::vector<float>& logits = recorder_.logits()[i];
      results[i].top.clear();
      for (size_t id = 0; id < logits.size(); ++id) {
        results[i].top.push_back({.id = static_cast<int32_t>(id), .logprob = logits[id]});
      }
    }
    return results;
  }
  std::span<const Drafts> drafts() const override { return drafts_; }

 private:
  void Correct(const DraftRow& row, std::span<const SampleResult> results, Drafts& drafts) const {
    if (!row.is_sampled()) return;
    const BatchRow& of_step = batch_->rows[static_cast<size_t>(row.row)];
    const auto num_verified = static_cast<size_t>(row.num_verified);
    const auto verified = std::span(batch_->token_ids)
                              .first(static_cast<size_t>(of_step.first_token + of_step.num_tokens))
                              .last(num_verified);
    const auto drawn = results.subspan(static_cast<size_t>(row.first_sample), num_verified + 1);
    const int drawn_at = of_step.first_position + of_step.num_tokens - row.num_verified + NumAccepted(verified, drawn);
    EXPECT_EQ(drafts.count, std::clamp(row.end_position - drawn_at, 0, row.num_drafts))
        << "the layer that predicts further tokens read a slot that was never written";
    known_answers_.Correct(row.sample, drawn_at + 1, drafts);
  }

  ModelExecutor executor_;
  Recorder& recorder_;
  const KnownAnswers& known_answers_;
  const BatchInputs* batch_ = nullptr;    // of the step at hand
  std::span<const DraftRow> draft_rows_;  // of the step at hand
  std::vector<Drafts> drafts_;
};

RecordedModel::RecordedModel(const ModelKind& kind)
    : backend_(OrDie(MakeCpuBackend(kind.num_threads))), ops_(std::move(backend_.ops)) {
  auto recorder = std::make_unique<Recorder>(*ops_);
  recorder_ = recorder.get();
  backend_.ops = std::move(recorder);
  const ModelLimits limits = {.num_blocks = kEngineBlocks + kColdBlocks,
                              .max_tokens = kMaxTokens,
                              .max_rows = kMaxRows,
                              .max_logit_rows = kMaxTokens,
                              .max_context = kind.max_context,
                              .latents = kind.latents,
                              .activations = kind.activations,
                              .loads_mtp = kind.mtp};
  model_ = LoadDirectory(DirectoryOf(kind), limits, *backend_.device, *backend_.ops);
  executor_ = std::make_unique<Executor>(*this);
  StoreCold(std::vector<int32_t>{0, 0});  // now the recorder knows where the latents are
  CHECK_EQ(recorder_->num_layers(), model_->config().num_layers + (model_->can_draft() ? 1 : 0));
}

RecordedModel::~RecordedModel() = default;

StepExecutor& RecordedModel::executor() { return *executor_; }

void RecordedModel::Erase(int num_blocks) { recorder_->Erase(0, num_blocks); }

void RecordedModel::StoreCold(std::span<const int32_t> tokens) {
  recorder_->Erase(kEngineBlocks, kColdBlocks);
  const auto num_computed = static_cast<int>(tokens.size()) - 1;
  const std::vector<DraftRow> rows(
      model_->can_draft() ? 1 : 0,
      {.row = 0, .first_key = 1, .end_position = kColdBlocks * kBlockSlots, .next_id = tokens.back()});
  const BatchInputs step = ColdStep(tokens.first(tokens.size() - 1), 0, num_computed);
  executor_->Launch(step, {}, rows);
  executor_->Collect();
}

testing::AssertionResult RecordedModel::HasFreshLatents(const Sequence& sequence) {
  if (sequence.computed == 0) return testing::AssertionSuccess();
  StoreCold(std::span(sequence.tokens).first(static_cast<size_t>(sequence.computed) + 1));
  for (int layer = 0; layer < recorder_->num_layers(); ++layer) {
    const bool is_drafting = layer == model_->config().num_layers;
    const DraftedSlots slots =
        is_drafting ? DraftedSlots{sequence.drafted.from, sequence.drafted.to} : DraftedSlots{0, sequence.computed};
    const testing::AssertionResult same = recorder_->SameSlots(layer, sequence.blocks.blocks(), kEngineBlocks, slots);
    if (!same) return same;
  }
  return testing::AssertionSuccess();
}

Answer RecordedModel::Cold(const Request& request, int32_t index) {
  recorder_->Erase(kEngineBlocks, kColdBlocks);
  Answer answer;
  std::vector<int32_t> tokens = request.prompt;
  if (request.kind == RequestKind::kScore) {
    AppendStep(request, index, tokens, answer);
  } else {
    for (int i = 0; i < request.stopping.max_tokens; ++i) AppendStep(request, index, tokens, answer);
  }
  return answer;
}

void RecordedModel::AppendStep(const Request& request, int32_t index, std::vector<int32_t>& tokens, Answer& answer) {
  const bool scores = request.kind == RequestKind::kScore;
  const bool is_first = answer.ids.empty();
  // Logits of the last position say what follows; Score wants those that a token of the prompt follows.
  const std::span<const int32_t> input = std::span(tokens).first(tokens.size() - (scores ? 1 : 0));
  const int last = static_cast<int>(input.size()) - 1;
  std::vector<SampleRow> samples;
  if (scores) {
    for (size_t i = 1; i < tokens.size(); ++i) samples.push_back(ScoreRow(tokens[i], request));
  } else {
    samples.push_back(DrawRow(request, index, tokens));
  }
  executor_->Launch(ColdStep(input, is_first ? 0 : last, scores ? 0 : last), samples, {});
  std::span<SampleResult> results = executor_->Collect();
  for (size_t i = 0; i < results.size(); ++i) {
    if (scores) results[i].id = tokens[i + 1];
    answer.Append(results[i]);
  }
  if (!scores) tokens.push_back(answer.ids.back());
}

}  // namespace latentd
