// Where Kimi's own code cuts a long text before it looks for tokens: none reaches over a cut.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace latentd {

// The ends of the parts in order, the last that of `text`, which must be valid UTF-8: a part has at most 400,000
// characters, and a cut stands in every run of more than 25,000 characters that are all blank or all not.
std::vector<size_t> LongRunCuts(std::string_view text);

}  // namespace latentd
