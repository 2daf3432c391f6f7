#include "engine/step/step_profile.h"

#include <charconv>
#include <string_view>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

namespace latentd {
namespace {

constexpr std::string_view kLayers = "model.layers.", kWeight = ".weight";

// None for a weight of no layer, as the head's.
std::optional<int> LayerOf(std::string_view weight) {
  if (!weight.starts_with(kLayers)) return std::nullopt;
  int layer = 0;
  const auto [end, error] = std::from_chars(weight.data() + kLayers.size(), weight.data() + weight.size(), layer);
  return error == std::errc() ? std::optional(layer) : std::nullopt;
}

// A call without a weight works for the next one that has one: a norm for the product that reads it.
std::vector<std::optional<int>> LayersOf(std::span<const ProfiledCall> calls) {
  std::vector<std::optional<int>> layers(calls.size());
  std::optional<int> next;
  for (size_t i = calls.size(); i-- > 0;) {
    if (!calls[i].weight.empty()) next = LayerOf(calls[i].weight);
    layers[i] = next;
  }
  return layers;
}

// "Linear self_attn.q_proj". Tensors of the model's catalogue: no character of a name needs an escape in JSON.
std::string NameOf(const ProfiledCall& call) {
  std::string_view weight = call.weight;
  if (weight.empty() || call.verb == "MixExperts") return std::string(call.verb);
  if (LayerOf(weight)) weight.remove_prefix(weight.find('.', kLayers.size()) + 1);
  if (weight.ends_with(kWeight)) weight.remove_suffix(kWeight.size());
  return absl::StrCat(std::string(call.verb), " ", std::string(weight));
}

// Microseconds, as traces count.
double Micros(Duration duration) { return 1e6 * Seconds(duration); }

std::string Event(std::string_view name, Duration began, Duration took, std::string_view figures) {
  return absl::StrFormat(R"({"name": "%s", "ph": "X", "pid": 1, "tid": 1, "ts": %.3f, "dur": %.3f, "args": {%s}})",
                         std::string(name), Micros(began), Micros(took), std::string(figures));
}

std::string FiguresOf(const ProfiledCall& call, std::optional<int> layer) {
  std::string figures;
  if (layer) absl::StrAppendFormat(&figures, R"("layer": %d, )", *layer);
  absl::StrAppendFormat(&figures, R"("rows": %d, "bytes": %.0f, "flops": %.0f)", call.rows, call.cost.bytes,
                        call.cost.flops);
  const double seconds = Seconds(call.took);
  if (seconds > 0) {
    absl::StrAppendFormat(&figures, R"(, "GB/s": %.3f, "GFLOP/s": %.3f)", call.cost.bytes / seconds * 1e-9,
                          call.cost.flops / seconds * 1e-9);
  }
  return figures;
}

}  // namespace

std::optional<std::string> StepProfile::Trace() {
  if (recording_ == nullptr) recording_ = ops_.Record(num_steps_);
  if (recording_ == nullptr || !recording_->is_complete()) return std::nullopt;
  return ChromeTrace(recording_->steps());
}

std::string ChromeTrace(std::span<const ProfiledStep> steps) {
  std::string trace(kTraceStart);
  std::string_view between = "\n";
  const auto append = [&](const std::string& event) {
    absl::StrAppend(&trace, std::string(std::exchange(between, ",\n")), event);
  };
  for (const ProfiledStep& step : steps) {
    const TimePoint zero = steps.front().started;
    append(Event(step.name, step.started - zero, step.took,
                 absl::StrFormat(R"("rows": %d, "tokens": %d)", step.rows, step.tokens)));
    const std::vector<std::optional<int>> layers = LayersOf(step.calls);
    for (size_t i = 0; i < step.calls.size(); ++i) {
      const ProfiledCall& call = step.calls[i];
      append(Event(NameOf(call), call.started - zero, call.took, FiguresOf(call, layers[i])));
    }
  }
  return trace + "\n]}\n";
}

}  // namespace latentd
