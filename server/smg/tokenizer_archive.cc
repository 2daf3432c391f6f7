#include "server/smg/tokenizer_archive.h"

#include <array>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "server/access/digest.h"
#include "server/smg/zip_archive.h"

namespace latentd {
namespace {

// What a gateway takes at most; the largest published tokenizers have 20 MB.
constexpr size_t kMaxBytes = size_t{200} << 20;
constexpr std::string_view kTemplateFile = "chat_template.jinja";
// As far as a model's directory has them.
constexpr std::array<std::string_view, 13> kFiles = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tiktoken.model",
    "tokenizer.model",
    "generation_config.json",
    "config.json",
    "chat_template.json",
    "tokenization_kimi.py",
    kTemplateFile,
};

}  // namespace

absl::StatusOr<PackedTokenizer> TokenizerArchive::Pack() const {
  ZipArchive zip;
  size_t left = kMaxBytes;
  for (const std::string_view name : kFiles) {
    const bool is_chosen = name == kTemplateFile && !chat_template_.empty();
    absl::StatusOr<std::string> content = ReadFile(is_chosen ? chat_template_ : model_directory_ / name, left);
    if (absl::IsNotFound(content.status()) && !is_chosen) continue;
    if (!content.ok()) return content.status();
    left -= content->size();
    zip.Add(name, *content);
  }
  PackedTokenizer packed{.zip = std::move(zip).Finish(), .sha256 = {}};
  packed.sha256 = ToHex(Sha256(packed.zip));
  return packed;
}

absl::StatusOr<std::shared_ptr<const PackedTokenizer>> TokenizerArchive::Get() {
  const std::lock_guard lock(mutex_);
  if (std::shared_ptr<const PackedTokenizer> held = packed_.lock()) return held;
  absl::StatusOr<PackedTokenizer> made = Pack();
  if (!made.ok()) return made.status();
  auto held = std::make_shared<const PackedTokenizer>(*std::move(made));
  packed_ = held;
  return held;
}

}  // namespace latentd
