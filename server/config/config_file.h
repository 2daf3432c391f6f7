// The --config file: TOML, one `knob = value` a line.
#pragma once

#include <map>
#include <string>

#include <absl/status/statusor.h>

namespace latentd {

struct FileEntry {
  std::string value;  // as a flag would be given it
  int line = 0;
};

// An error is one line that begins with the file and, where there is one, the line.
absl::StatusOr<std::map<std::string, FileEntry>> ReadConfigFile(const std::string& path);

// A text as the file holds it.
std::string QuoteForConfigFile(const std::string& text);

}  // namespace latentd
