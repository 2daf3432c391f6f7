#include "engine/model/checkpoint/model_files.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>

#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>

#include "base/quoting.h"

namespace latentd {
namespace {

constexpr size_t kMaxNames = 100'000;  // of one directory
constexpr std::string_view kSuffix = ".safetensors";

std::vector<std::string> NamesIn(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
    if (names.size() == kMaxNames) break;
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool BelongsToAModel(std::string_view name) {
  if (!name.ends_with(kSuffix)) return false;
  for (const std::string_view other :
       {"consolidated", "adapter_", "optimizer", "scheduler", "training_", "mtp_draft"}) {
    if (name.starts_with(other)) return false;
  }
  return true;
}

// "model-00002-of-00004.safetensors".
struct Numbered {
  std::string stem;  // "model"
  int number = 0;
  int count = 0;
};

std::optional<Numbered> ParseNumbered(std::string_view name) {
  constexpr std::string_view kOf = "-of-";
  constexpr size_t kDigits = 5;
  name.remove_suffix(kSuffix.size());
  const size_t tail = 1 + kDigits + kOf.size() + kDigits;
  if (name.size() <= tail) return std::nullopt;
  const std::string_view numbers = name.substr(name.size() - tail);
  Numbered numbered{.stem = std::string(name.substr(0, name.size() - tail))};
  const auto digits = [&](size_t at, int* value) {
    const std::string_view text = numbers.substr(at, kDigits);
    return text.find_first_not_of("0123456789") == text.npos &&
           absl::SimpleAtoi(absl::string_view(text.data(), text.size()), value);
  };
  if (numbers[0] != '-' || numbers.substr(1 + kDigits, kOf.size()) != kOf || !digits(1, &numbered.number) ||
      !digits(1 + kDigits + kOf.size(), &numbered.count)) {
    return std::nullopt;
  }
  return numbered;
}

absl::Status CheckComplete(const std::filesystem::path& directory, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const std::optional<Numbered> numbered = ParseNumbered(name);
    if (!numbered) continue;
    for (int number = 1; number <= numbered->count; ++number) {
      const std::string other = absl::StrFormat("%s-%05d-of-%05d%s", numbered->stem, number, numbered->count, kSuffix);
      if (std::binary_search(names.begin(), names.end(), other)) continue;
      return absl::InvalidArgumentError(absl::StrFormat("%s: expected %s beside %s, found no such file; fetch it",
                                                        Quoted(directory.string()), Quoted(other), Quoted(name)));
    }
  }
  return absl::OkStatus();
}

// Other files that people have in a model's directory, and the advice that makes it one that can be served.
struct Other {
  std::string_view ending;
  std::string_view advice;
};
constexpr Other kOthers[] = {
    {".incomplete", "a download that did not end: fetch it again"},
    {"adapter_model.safetensors",
     "an adapter: merge it into its base model, with peft's merge_and_unload, and save that"},
    {".latentpack", "which only latentd reads, on the CPU: name the directory that it was packed from"},
    {".safetensors", "whose tensors have another program's names: fetch the files with Hugging Face's names"},
    {".bin", "which is PyTorch's: load it with transformers and save_pretrained(…, safe_serialization=True)"},
    {".pt", "which is PyTorch's: load it with transformers and save_pretrained(…, safe_serialization=True)"},
    {".pth", "which is PyTorch's: load it with transformers and save_pretrained(…, safe_serialization=True)"},
    {".gguf", "which is llama.cpp's: fetch the safetensors files that it was made from"},
    {".h5", "which is TensorFlow's: load it with transformers and save_pretrained"},
    {".msgpack", "which is Flax's: load it with transformers and save_pretrained"},
};

std::string WhatIsThere(const std::filesystem::path& directory, const std::vector<std::string>& names) {
  for (const Other& other : kOthers) {
    for (const std::string& name : names) {
      if (name.ends_with(other.ending)) return absl::StrFormat("found %s, %s", Quoted(name), other.advice);
    }
  }
  // Where huggingface_hub keeps what it has not fetched whole.
  for (const std::string& name : NamesIn(directory / ".cache/huggingface/download")) {
    if (name.ends_with(".incomplete")) return "found neither, and a download that did not end; fetch it again";
  }
  return "found neither; is this a model's directory?";
}

}  // namespace

absl::StatusOr<std::vector<std::string>> FindWeightFiles(const std::filesystem::path& directory) {
  const std::vector<std::string> all = NamesIn(directory);
  std::vector<std::string> names;
  std::copy_if(all.begin(), all.end(), std::back_inserter(names), BelongsToAModel);
  if (names.empty()) {
    return absl::NotFoundError(absl::StrFormat("%s: expected model.safetensors or model.safetensors.index.json, %s",
                                               Quoted(directory.string()), WhatIsThere(directory, all)));
  }
  if (absl::Status status = CheckComplete(directory, names); !status.ok()) return status;
  return names;
}

std::optional<std::string> FindTraceOfWeights(const std::filesystem::path& directory) {
  const std::vector<std::string> names = NamesIn(directory);
  const auto found = std::find_if(names.begin(), names.end(), [](const std::string& name) {
    return name == kShardIndexName || BelongsToAModel(name);
  });
  return found == names.end() ? std::nullopt : std::optional(*found);
}

}  // namespace latentd
