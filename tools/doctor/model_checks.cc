#include "tools/doctor/model_checks.h"

#include <filesystem>
#include <string_view>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "engine/load/load_plan.h"
#include "engine/load/load_text.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"
#include "kernels/cpu/tiles.h"
#include "server/start/load_choices.h"
#include "tools/doctor/vectors.h"

namespace latentd {
namespace {

constexpr std::string_view kModel = "model";
constexpr std::string_view kText = "text";
constexpr std::string_view kDevice = "device";
constexpr std::string_view kMemory = "memory";

std::string MiB(uint64_t bytes) { return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / 0x1p20); }

void CheckText(const LoadOptions& options, ModelConfig& config, Findings& findings) {
  const absl::StatusOr<ModelText> text = LoadText(options);
  if (!text.ok()) return findings.push_back(Wrong(kText, text.status()));
  AddWarnings(kText, text->warnings, findings);
  const size_t num_warnings = config.warnings.size();
  if (absl::Status status = AddEosIds(options, text->tokenizer.get(), config); !status.ok()) {
    return findings.push_back(Wrong(kText, status));
  }
  AddWarnings(kText, {config.warnings.begin() + static_cast<ptrdiff_t>(num_warnings), config.warnings.end()}, findings);
  if (text->tokenizer == nullptr) return;
  const bool has_template = text->chat.chat_template != nullptr || text->tool_use.chat_template != nullptr;
  findings.push_back(Fine(kText, absl::StrFormat("tokenizer%s", has_template ? " and chat template" : "")));
}

// Why no GPU computes where the choice was left to the daemon.
std::string AboutGpu() {
  const absl::StatusOr<Backend> cuda = MakeCudaBackend(0);
  if (cuda.ok()) return "";
  return absl::IsNotFound(cuda.status()) ? "no CUDA backend beside this program"
                                         : absl::StrCat("no GPU: ", std::string(cuda.status().message()));
}

void CheckProcessor(const ChosenBackend& chosen, const std::string& gpu, Findings& findings) {
  const Vectors vectors = ReadVectors("/");
  std::string found = absl::StrFormat("%s, %s", chosen.backend.device->Describe(), NameOf(vectors));
  if (!gpu.empty()) absl::StrAppend(&found, "; ", gpu);
  if (vectors == Vectors::kScalar) {
    findings.push_back({.check = std::string(kDevice),
                        .severity = Severity::kWarning,
                        .found = found,
                        .advice = "expected AVX2 at least, as scalar code takes many times as long: choose another "
                                  "machine, or a virtual one whose CPU model passes AVX2 on"});
    return;
  }
  findings.push_back(Fine(kDevice, std::move(found)));
  if (!cpu::HasTiles() && !cpu::DescribeTiles().empty()) {
    findings.push_back({.check = std::string(kDevice),
                        .severity = Severity::kWarning,
                        .found = cpu::DescribeTiles(),
                        .advice = "vectors compute in their place: allow arch_prctl(ARCH_REQ_XCOMP_PERM) in the "
                                  "container's seccomp profile"});
  }
}

void CheckDevice(const LoadOptions& options, const ChosenBackend& chosen, Findings& findings) {
  if (chosen.is_cuda()) {
    return findings.push_back(
        Fine(kDevice, absl::StrFormat("%s: %s", chosen.device, chosen.backend.device->Describe())));
  }
  CheckProcessor(chosen, options.device == "auto" ? AboutGpu() : "", findings);
}

void CheckMemory(const LoadPlan& plan, const Checkpoint& checkpoint, Findings& findings) {
  // What is mapped from a packed file needs no memory of its own, but is slow where it does not stay in the cache.
  const bool is_packed = checkpoint.packed_file() != nullptr;
  const uint64_t taken = plan.step_bytes + plan.cache_bytes;
  const std::string found = absl::StrFormat(
      "%s of %sweights, %s for steps of %d tokens and %s of cache for %s tokens (%s), found %s available",
      MiB(plan.weight_bytes), is_packed ? "packed " : "", MiB(plan.step_bytes), plan.step_tokens, MiB(plan.cache_bytes),
      Grouped(plan.slots()), plan.cache.reason, MiB(plan.available_bytes));
  const std::string advice =
      "lower --kv-blocks, --kv-bytes, --max-rows or --max-step-tokens, free memory or raise the "
      "container's limit";
  Severity severity = Severity::kOk;
  if (taken + (is_packed ? 0 : plan.weight_bytes) > plan.available_bytes) {
    severity = Severity::kError;
  } else if (taken + plan.weight_bytes > plan.available_bytes) {
    severity = Severity::kWarning;
  }
  findings.push_back({.check = std::string(kMemory),
                      .severity = severity,
                      .found = found,
                      .advice = severity == Severity::kOk ? "" : advice});
  if (plan.context <= plan.slots()) return;
  findings.push_back({.check = std::string(kMemory),
                      .severity = Severity::kWarning,
                      .found = absl::StrFormat("max-context-tokens=%d is more than the %d tokens of the cache",
                                               plan.context, plan.slots()),
                      .advice = "raise kv-blocks or lower it"});
}

}  // namespace

void CheckModel(const Config& config, Findings& findings) {
  const absl::StatusOr<LoadOptions> options = LoadOptionsOf(config);
  if (!options.ok()) return findings.push_back(Wrong(kModel, options.status()));
  absl::StatusOr<ModelConfig> model =
      LoadModelConfig(options->model_directory, GenerationSourceOf(options->generation_config));
  if (!model.ok()) return findings.push_back(Wrong(kModel, model.status()));
  AddWarnings(kModel, model->warnings, findings);
  if (absl::Status status = CheckComputable(*model); !status.ok()) findings.push_back(Wrong(kModel, status));
  CheckText(*options, *model, findings);
  const absl::StatusOr<ChosenBackend> chosen = ChooseBackend(*options);
  if (chosen.ok()) {
    CheckDevice(*options, *chosen, findings);
  } else {
    findings.push_back(Wrong(kDevice, chosen.status()));
  }
  const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(options->model_directory, *model);
  if (!checkpoint.ok()) return findings.push_back(Wrong(kModel, checkpoint.status()));
  AddWarnings(kModel, checkpoint->warnings(), findings);
  findings.push_back(
      Fine(kModel, absl::StrFormat("%s, %s of %s weights", model->architecture, MiB(checkpoint->tensor_bytes()),
                                   QuantizationOf(*checkpoint, *model))));
  if (!chosen.ok()) return;
  model->num_mtp_layers = checkpoint->num_mtp_layers();
  const absl::StatusOr<LoadPlan> plan = PlanLoad(*options, *model, *checkpoint, *chosen);
  if (!plan.ok()) return findings.push_back(Wrong(kMemory, plan.status()));
  if (!plan->drafts.warning.empty()) AddWarnings(kModel, {plan->drafts.warning}, findings);
  CheckMemory(*plan, *checkpoint, findings);
}

}  // namespace latentd
