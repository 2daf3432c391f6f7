// From the command line, the environment and a file to the configuration, at the start of the process.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "server/config/config.h"

namespace latentd {

struct ParsedConfig {
  Config config;
  std::vector<KnobValue> knobs;                // every one, in the order of the help
  std::map<std::string, std::string> origins;  // knob -> what names the place of its value; none of a default
  std::vector<std::string> warnings;
  std::string answer;  // help, the version or the configuration where one was asked for: to be printed, nothing to run
};

using Environment = std::map<std::string, std::string>;  // the variables that begin with LATENTD_
Environment ReadEnvironment();

// An error is one line that names the source, what was expected, what was found.
absl::StatusOr<ParsedConfig> ParseConfig(int argc, const char* const* argv, const Environment& environment);

// An error about a knob, which begins with its name or with the file that it names, as one that begins with where the
// knob's value stands. Others stay as they are.
std::string WithOrigin(std::string_view error, const ParsedConfig& parsed);

// Whether --log-format, its variable or the file asks for JSON, be the rest of the configuration as wrong as it may.
bool AsksForJsonLog(int argc, const char* const* argv, const Environment& environment);

}  // namespace latentd
