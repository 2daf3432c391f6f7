// The tokenizer's files of the model's directory as one zip, for a gateway that renders and detokenises by itself. Read
// when the first client asks, and held while there is one. Owned by the service; any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include <absl/status/statusor.h>

namespace latentd {

struct PackedTokenizer {
  std::string zip;
  std::string sha256;  // of the zip, in hexadecimal
};

class TokenizerArchive {
 public:
  // `chat_template`: the operator's choice in place of the model's own, where it is a file; empty: none.
  TokenizerArchive(std::filesystem::path model_directory, std::filesystem::path chat_template)
      : model_directory_(std::move(model_directory)), chat_template_(std::move(chat_template)) {}

  absl::StatusOr<std::shared_ptr<const PackedTokenizer>> Get();

 private:
  absl::StatusOr<PackedTokenizer> Pack() const;

  const std::filesystem::path model_directory_;
  const std::filesystem::path chat_template_;
  std::mutex mutex_;
  std::weak_ptr<const PackedTokenizer> packed_;  // guarded by mutex_
};

}  // namespace latentd
