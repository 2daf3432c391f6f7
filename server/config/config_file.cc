#include "server/config/config_file.h"

#include <sstream>

#include <absl/strings/str_format.h>
#include <toml++/toml.h>

#include "base/file.h"

namespace latentd {
namespace {

constexpr size_t kMaxConfigBytes = 1 << 20;

}  // namespace

absl::StatusOr<std::map<std::string, FileEntry>> ReadConfigFile(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxConfigBytes);
  if (!text.ok()) return text.status();
  toml::table table;
  try {
    table = toml::parse(*text, path);
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s:%d: %s", path, error.source().begin.line, std::string(error.description())));
  }
  std::map<std::string, FileEntry> entries;
  for (const auto& [key, node] : table) {
    FileEntry entry{.value = {}, .line = static_cast<int>(node.source().begin.line)};
    if (const auto* text = node.as_string()) {
      entry.value = text->get();
    } else if (node.is_number()) {
      std::ostringstream printed;
      node.is_integer() ? printed << *node.as_integer() : printed << *node.as_floating_point();
      entry.value = printed.str();
    } else {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s:%d: %s: expected a number or a \"text\"", path, entry.line, std::string(key.str())));
    }
    entries.emplace(std::string(key.str()), std::move(entry));
  }
  return entries;
}

std::string QuoteForConfigFile(const std::string& text) {
  std::ostringstream printed;
  printed << toml::value<std::string>(text);
  return printed.str();
}

}  // namespace latentd
