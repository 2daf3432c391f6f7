// The name of a model that lies in a directory.
#pragma once

#include <filesystem>
#include <string>

namespace latentd {

// The directory's name, or "org/name" within a cache of Hugging Face's, where directories are called by revision.
std::string ModelName(const std::filesystem::path& directory);

}  // namespace latentd
