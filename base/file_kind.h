// The kind of a file that is not the one its name promises: downloads fail in a few well-known ways.
#pragma once

#include <string>
#include <string_view>

namespace latentd {

// "a git-lfs pointer in place of the file (9,755,696 bytes); fetch it with git lfs pull", by the file's first bytes;
// empty where nothing is to be said. `content` may be the whole file.
std::string NotTheFile(std::string_view content);

}  // namespace latentd
