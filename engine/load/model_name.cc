#include "engine/load/model_name.h"

#include <optional>
#include <string_view>
#include <system_error>

namespace latentd {
namespace {

// The last name of the path as it was given, links and all; none where it ends in one that is no name.
std::optional<std::string> LastFolderGiven(const std::filesystem::path& directory) {
  std::filesystem::path given = directory;
  while (given.has_parent_path() && (!given.has_filename() || given.filename() == ".")) given = given.parent_path();
  const std::string name = given.filename().string();
  if (name.empty() || name == "." || name == "..") return std::nullopt;
  return name;
}

}  // namespace

// A cache of Hugging Face's: models--ORG--NAME/snapshots/REVISION.
std::string ModelName(const std::filesystem::path& directory) {
  std::error_code ignored;  // a directory that cannot be resolved keeps the name it was given
  auto resolved = std::filesystem::weakly_canonical(directory, ignored);
  if (!resolved.has_filename()) resolved = resolved.parent_path();  // a slash at the end
  constexpr std::string_view kPrefix = "models--", kSeparator = "--";
  const std::filesystem::path above = resolved.parent_path();
  std::string repository = above.parent_path().filename().string();
  if (above.filename() != "snapshots" || !repository.starts_with(kPrefix)) {
    return LastFolderGiven(directory).value_or(resolved.filename().string());
  }
  repository.erase(0, kPrefix.size());
  const size_t separator = repository.find(kSeparator);
  if (separator != std::string::npos) repository.replace(separator, kSeparator.size(), "/");
  return repository;
}

}  // namespace latentd
