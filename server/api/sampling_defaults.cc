#include "server/api/sampling_defaults.h"

#include <algorithm>
#include <vector>

#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "base/number_text.h"
#include "server/api/sampling_numbers.h"

namespace latentd {

v1::SamplingDefaults SamplingDefaultsOf(const GenerationDefaults& generation) {
  v1::SamplingDefaults defaults;
  SetDefaultNumbers(generation, &defaults);
  if (generation.max_tokens) defaults.set_max_tokens(static_cast<uint32_t>(*generation.max_tokens));
  defaults.set_min_tokens(static_cast<uint32_t>(generation.min_tokens.value_or(0)));
  for (const std::string& text : generation.stop) defaults.add_stop(text);
  return defaults;
}

std::string DescribeDefaults(const v1::SamplingDefaults& defaults) {
  std::vector<std::string> parts = DescribeNumbers(defaults);
  const auto add = [&](bool is_said, std::string_view name, auto value) {
    if (is_said) parts.push_back(absl::StrFormat("%s=%s", name, NumberText(value)));
  };
  add(defaults.has_max_tokens(), "max_tokens", defaults.max_tokens());
  add(defaults.min_tokens() != 0, "min_tokens", defaults.min_tokens());
  add(defaults.stop_size() != 0, "stop strings", defaults.stop_size());
  return absl::StrJoin(parts, ", ");
}

v1::Sampling SamplingOf(const v1::GenerateRequest& request, const v1::SamplingDefaults& defaults) {
  v1::Sampling sampling = request.sampling();
  ResolveNumbers(defaults, &sampling);
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
