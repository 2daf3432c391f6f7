#include "server/api/sampling_defaults.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "base/number_text.h"

namespace latentd {

GenerationSource GenerationSourceOf(const Config& config) {
  if (config.generation_config == "auto") return {};
  if (config.generation_config == "none") return {.file = {}, .part = GenerationPart::kTokenIds};
  const std::filesystem::path path = config.generation_config;
  std::error_code error;  // what cannot be looked at cannot be read either, and that tells why
  return {.file = std::filesystem::is_directory(path, error) ? path / "generation_config.json" : path,
          .part = GenerationPart::kAll};
}

v1::SamplingDefaults SamplingDefaultsOf(const GenerationDefaults& generation) {
  v1::SamplingDefaults defaults;
  defaults.set_temperature(static_cast<float>(generation.temperature.value_or(1.0)));
  defaults.set_top_p(static_cast<float>(generation.top_p.value_or(1.0)));
  defaults.set_top_k(static_cast<uint32_t>(generation.top_k.value_or(0)));
  defaults.set_min_p(static_cast<float>(generation.min_p.value_or(0.0)));
  defaults.set_presence_penalty(static_cast<float>(generation.presence_penalty.value_or(0.0)));
  defaults.set_frequency_penalty(static_cast<float>(generation.frequency_penalty.value_or(0.0)));
  defaults.set_repetition_penalty(static_cast<float>(generation.repetition_penalty.value_or(1.0)));
  if (generation.max_tokens) defaults.set_max_tokens(static_cast<uint32_t>(*generation.max_tokens));
  defaults.set_min_tokens(static_cast<uint32_t>(generation.min_tokens.value_or(0)));
  for (const std::string& text : generation.stop) defaults.add_stop(text);
  return defaults;
}

std::string DescribeDefaults(const v1::SamplingDefaults& defaults) {
  std::vector<std::string> parts = {"temperature=" + NumberText(defaults.temperature()),
                                    "top_p=" + NumberText(defaults.top_p())};
  const auto add = [&](bool is_said, std::string_view name, auto value) {
    if (is_said) parts.push_back(absl::StrFormat("%s=%s", name, NumberText(value)));
  };
  add(defaults.top_k() != 0, "top_k", defaults.top_k());
  add(defaults.min_p() != 0, "min_p", defaults.min_p());
  add(defaults.presence_penalty() != 0, "presence_penalty", defaults.presence_penalty());
  add(defaults.frequency_penalty() != 0, "frequency_penalty", defaults.frequency_penalty());
  add(defaults.repetition_penalty() != 1, "repetition_penalty", defaults.repetition_penalty());
  add(defaults.has_max_tokens(), "max_tokens", defaults.max_tokens());
  add(defaults.min_tokens() != 0, "min_tokens", defaults.min_tokens());
  add(defaults.stop_size() != 0, "stop strings", defaults.stop_size());
  return absl::StrJoin(parts, ", ");
}

v1::Sampling SamplingOf(const v1::GenerateRequest& request, const v1::SamplingDefaults& defaults) {
  v1::Sampling sampling = request.sampling();
  if (!sampling.has_temperature()) sampling.set_temperature(defaults.temperature());
  if (!sampling.has_top_p()) sampling.set_top_p(defaults.top_p());
  if (!sampling.has_top_k()) sampling.set_top_k(defaults.top_k());
  if (!sampling.has_min_p()) sampling.set_min_p(defaults.min_p());
  if (!sampling.has_presence_penalty()) sampling.set_presence_penalty(defaults.presence_penalty());
  if (!sampling.has_frequency_penalty()) sampling.set_frequency_penalty(defaults.frequency_penalty());
  if (!sampling.has_repetition_penalty()) {
    sampling.set_repetition_penalty(defaults.has_repetition_penalty() ? defaults.repetition_penalty() : 1.0f);
  }
  return sampling;
}

v1::Stopping StoppingOf(const v1::GenerateRequest& request, const v1::SamplingDefaults& defaults, int room) {
  v1::Stopping stopping = request.stopping();
  if (!stopping.has_max_tokens() && defaults.has_max_tokens()) {
    stopping.set_max_tokens(std::max(defaults.max_tokens(), stopping.min_tokens()));
  }
  // Where only some tokens are allowed nothing but the end may be left to draw.
  if (!stopping.has_min_tokens() && request.sampling().allowed_token_ids().empty()) {
    const uint32_t most = std::min(static_cast<uint32_t>(room),
                                   stopping.has_max_tokens() ? stopping.max_tokens() : static_cast<uint32_t>(room));
    stopping.set_min_tokens(std::min(defaults.min_tokens(), most));
  }
  if (stopping.stop().empty()) *stopping.mutable_stop() = defaults.stop();
  return stopping;
}

}  // namespace latentd
