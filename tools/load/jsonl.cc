#include "tools/load/jsonl.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>

#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>
#include <google/protobuf/util/json_util.h>
#include <nlohmann/json.hpp>

#include "tools/load/view.h"

namespace latentd {
namespace {

using Json = nlohmann::json;

constexpr const char* kKeys[] = {"prompt", "token_ids", "max_tokens", "ignore_eos", "sampling", "max_drafts"};
constexpr size_t kMaxLines = 1'000'000;  // of a file that is held in memory

absl::Status SetPrompt(const Json& line, v1::GenerateRequest& request) {
  if (line.contains("prompt") == line.contains("token_ids")) {
    return absl::InvalidArgumentError("expected \"prompt\" or \"token_ids\", found both or neither");
  }
  if (line.contains("prompt")) {
    if (!line["prompt"].is_string()) return absl::InvalidArgumentError("prompt: expected a string");
    request.set_text(line["prompt"].get<std::string>());
    return absl::OkStatus();
  }
  if (!line["token_ids"].is_array()) return absl::InvalidArgumentError("token_ids: expected an array of numbers");
  for (const Json& id : line["token_ids"]) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > std::numeric_limits<uint32_t>::max()) {
      return absl::InvalidArgumentError("token_ids: expected whole numbers from 0, found " + id.dump());
    }
    request.mutable_token_ids()->add_ids(id.get<uint32_t>());
  }
  if (request.token_ids().ids().empty()) return absl::InvalidArgumentError("token_ids: expected at least one");
  return absl::OkStatus();
}

absl::Status SetStopping(const Json& line, v1::GenerateRequest& request) {
  if (line.contains("max_tokens")) {
    const Json& max_tokens = line["max_tokens"];
    if (!max_tokens.is_number_unsigned() || max_tokens.get<uint64_t>() == 0 ||
        max_tokens.get<uint64_t>() > std::numeric_limits<uint32_t>::max()) {
      return absl::InvalidArgumentError("max_tokens: expected a whole number above 0, found " + max_tokens.dump());
    }
    request.mutable_stopping()->set_max_tokens(max_tokens.get<uint32_t>());
  }
  if (line.contains("ignore_eos")) {
    if (!line["ignore_eos"].is_boolean()) return absl::InvalidArgumentError("ignore_eos: expected true or false");
    request.mutable_stopping()->set_ignore_eos(line["ignore_eos"].get<bool>());
  }
  return absl::OkStatus();
}

absl::Status SetSpeculation(const Json& line, v1::GenerateRequest& request) {
  if (!line.contains("max_drafts")) return absl::OkStatus();
  const Json& max_drafts = line["max_drafts"];
  if (!max_drafts.is_number_unsigned() || max_drafts.get<uint64_t>() > std::numeric_limits<uint32_t>::max()) {
    return absl::InvalidArgumentError("max_drafts: expected a whole number from 0, found " + max_drafts.dump());
  }
  request.mutable_speculation()->set_max_drafts(max_drafts.get<uint32_t>());
  return absl::OkStatus();
}

absl::Status SetSampling(const Json& line, v1::GenerateRequest& request) {
  if (!line.contains("sampling")) return absl::OkStatus();
  const auto status = google::protobuf::util::JsonStringToMessage(line["sampling"].dump(), request.mutable_sampling());
  if (status.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError("sampling: expected the fields of latentd.v1.Sampling, found " +
                                    line["sampling"].dump() + ": " + std::string(status.message()));
}

absl::Status ParseLine(std::string_view text, v1::GenerateRequest& request) {
  const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object()) return absl::InvalidArgumentError("expected a JSON object");
  for (const auto& [key, value] : line.items()) {
    if (std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys)) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("expected %s, found \"%s\"; remove it", absl::StrJoin(kKeys, ", "), key));
  }
  if (absl::Status status = SetPrompt(line, request); !status.ok()) return status;
  if (absl::Status status = SetStopping(line, request); !status.ok()) return status;
  if (absl::Status status = SetSpeculation(line, request); !status.ok()) return status;
  return SetSampling(line, request);
}

}  // namespace

absl::StatusOr<std::vector<v1::GenerateRequest>> ParseJsonl(std::string_view contents, std::string_view name) {
  std::vector<v1::GenerateRequest> requests;
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(View(contents), '\n')) {
    ++number;
    const absl::string_view text = absl::StripAsciiWhitespace(line);
    if (text.empty()) continue;
    if (requests.size() == kMaxLines) {
      return absl::InvalidArgumentError(absl::StrFormat("%s: expected at most %d requests", name, kMaxLines));
    }
    if (absl::Status status = ParseLine(View(text), requests.emplace_back()); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrFormat("%s:%d: %s", name, number, status.message()));
    }
  }
  if (requests.empty()) return absl::InvalidArgumentError(absl::StrFormat("%s: expected requests, found none", name));
  return requests;
}

absl::StatusOr<std::vector<v1::GenerateRequest>> ReadJsonl(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return absl::NotFoundError(absl::StrFormat("--jsonl: expected a readable file, found none at %s", file));
  const std::string contents(std::istreambuf_iterator<char>(stream), {});
  return ParseJsonl(contents, file);
}

}  // namespace latentd
