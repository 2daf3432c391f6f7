// Laws that several fuzz targets share, and how their inputs become files.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <absl/status/status.h>

#include "engine/text/tokenizer/tokenizer.h"
#include "tests/support/temporary_directory.h"

namespace latentd {

// The directory that the inputs of this process are written into, one after another.
const TemporaryDirectory& InputDirectory();

// The two sides of the first NUL, which no text file holds; `otherwise` is the second where there is no NUL.
std::pair<std::string_view, std::string_view> SplitAtNul(std::string_view input, std::string_view otherwise);

// `text` with each `mark` replaced, so that a corpus need not hold what every accepted file holds.
std::string Replaced(std::string_view text, std::string_view mark, std::string_view replacement);

// Every refusal is one short line.
void CheckRefusal(const absl::Status& status);

// Texts are encoded, as text and with added tokens, into ids that exist; what is decoded in chunks is what is decoded
// at once; and where pre-tokenizing loses nothing, encoding as text loses nothing.
void CheckTokenizer(const Tokenizer& tokenizer, std::string_view text);

// The chunks of a stream are valid UTF-8 and together what Decode gives.
void CheckStream(const Tokenizer& tokenizer, std::span<const int32_t> ids, SpecialText special_text);

}  // namespace latentd
