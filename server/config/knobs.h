// The table of everything an operator can set: flags, environment, file, --print-config, the Admin service's GetConfig
// and the help are read from it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <absl/status/status.h>

#include "server/config/config.h"

namespace latentd {

inline constexpr std::string_view kEngineKnobs = "Engine";

using KnobMember = std::variant<std::string Config::*, int64_t Config::*, double Config::*>;

struct Knob {
  std::string_view group;  // kEngineKnobs, "Sharing", "Model", "Listening", "Access" or "Logging"
  std::string_view name;   // of the flag, without dashes
  KnobMember member;
  std::string_view help;
  double lowest = 0.0;  // of a number, both included
  double highest = 0.0;
  std::string_view derived_from = {};          // what 0 stands for; empty: 0 is a value like others
  std::vector<std::string_view> choices = {};  // of a text; empty: any
  std::string_view alone = {};                 // what the flag without a value means; empty: it needs one

  bool is_text() const { return std::holds_alternative<std::string Config::*>(member); }
};

std::span<const Knob> AllKnobs();

// "max-rows" -> "LATENTD_MAX_ROWS".
std::string EnvironmentName(std::string_view knob);

// INVALID_ARGUMENT with what was expected and found.
absl::Status Assign(const Knob& knob, const std::string& text, Config& config);
std::string ValueOf(const Knob& knob, const Config& config);

// Values by the name of the knob that left them to the daemon.
using DerivedKnobs = std::vector<std::pair<std::string, std::string>>;
// `knobs` with `derived` in place of the zeros and the "auto"s that asked for it.
std::vector<KnobValue> WithDerived(std::vector<KnobValue> knobs, const DerivedKnobs& derived);

// Contradictions between knobs, and a listener beyond loopback that nothing guards.
absl::Status CheckTogether(const Config& config);

}  // namespace latentd
