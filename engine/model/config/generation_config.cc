#include "engine/model/config/generation_config.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

#include <absl/strings/str_format.h>

#include "base/json_reader.h"
#include "base/number_text.h"
#include "engine/model/config/sampling_ranges.h"

namespace latentd {
namespace {

constexpr int kMaxTokens = 1 << 24;  // no context has more

// Keys that are read, keys that describe the file itself, and keys that change how tokens are computed but not which.
constexpr std::array<std::string_view, 45> kWithoutEffect = {
    "bos_token_id",
    "eos_token_id",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "max_new_tokens",
    "min_new_tokens",
    "stop_strings",
    "do_sample",
    "pad_token_id",
    "_from_model_config",
    "_commit_hash",
    "transformers_version",
    "use_cache",
    "cache_implementation",
    "cache_config",
    "return_legacy_cache",
    "prefill_chunk_size",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "remove_invalid_values",
    "renormalize_logits",
    "early_stopping",
    "length_penalty",
    "compile_config",
    "disable_compile",
    "low_memory",
    "is_assistant",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_lookbehind",
    "target_lookbehind",
    "prompt_lookup_num_tokens",
    "max_matching_ngram_size",
    "trust_remote_code",
    "auto_map",
};

// The value with which transformers leaves the tokens as they are.
struct Neutral {
  std::string_view key;
  double value;
};
constexpr std::array<Neutral, 11> kNeutral = {{{"num_beams", 1},
                                               {"num_beam_groups", 1},
                                               {"num_return_sequences", 1},
                                               {"typical_p", 1},
                                               {"epsilon_cutoff", 0},
                                               {"eta_cutoff", 0},
                                               {"encoder_repetition_penalty", 1},
                                               {"no_repeat_ngram_size", 0},
                                               {"encoder_no_repeat_ngram_size", 0},
                                               {"diversity_penalty", 0},
                                               {"min_length", 0}}};

bool IsNeutral(const JsonFields& fields, const std::string& key) {
  for (const std::string_view known : kWithoutEffect) {
    if (known == key) return true;
  }
  const JsonValue value = fields.Value(key);
  if (std::holds_alternative<std::monostate>(value) || value == JsonValue(false)) return true;
  if (value == JsonValue(JsonContainer::kArray)) return fields.Members(key).empty();
  for (const Neutral& neutral : kNeutral) {
    if (neutral.key != key) continue;
    if (const auto* number = std::get_if<double>(&value)) return *number == neutral.value;
    if (const auto* number = std::get_if<int64_t>(&value)) return static_cast<double>(*number) == neutral.value;
  }
  return false;
}

std::vector<std::string> ReadStopStrings(JsonFields& fields) {
  const bool is_one = std::holds_alternative<std::string>(fields.Value("stop_strings"));
  const std::vector<std::string> stop =
      is_one ? std::vector{fields.String("stop_strings")} : fields.Strings("stop_strings");
  fields.Require(stop.size() <= kMaxStopStrings, "stop_strings", absl::StrFormat("at most %d texts", kMaxStopStrings));
  for (const std::string& text : stop) {
    fields.Require(!text.empty() && text.size() <= kMaxStopBytes, "stop_strings",
                   absl::StrFormat("texts of 1 to %d bytes", kMaxStopBytes));
  }
  return stop;
}

// A file's double may become a float that its range excludes: 1e-50 becomes 0.
std::optional<double> ReadWithin(const SamplingRange& range, const char* key, JsonFields& fields) {
  if (!fields.Has(key)) return std::nullopt;
  const double number = fields.Number(key, {range.lowest, range.highest});
  fields.Require(range.Holds(static_cast<float>(number)), key,
                 absl::StrFormat("a number above 0 and at most %s", NumberText(range.highest)));
  return number;
}

GenerationDefaults ReadDefaults(JsonFields& fields) {
  const auto count = [&](const char* key, int least) {
    const int any = std::numeric_limits<int>::max();
    return fields.Has(key) ? std::optional(std::min(fields.Int(key, {least, any}), kMaxTokens)) : std::nullopt;
  };
  GenerationDefaults defaults{.temperature = ReadWithin(kTemperatures, "temperature", fields),
                              .top_p = ReadWithin(kTopPs, "top_p", fields),
                              .top_k = std::nullopt,
                              .min_p = ReadWithin(kMinPs, "min_p", fields),
                              .presence_penalty = ReadWithin(kPresencePenalties, "presence_penalty", fields),
                              .frequency_penalty = ReadWithin(kFrequencyPenalties, "frequency_penalty", fields),
                              .repetition_penalty = ReadWithin(kRepetitionPenalties, "repetition_penalty", fields),
                              .max_tokens = count("max_new_tokens", 1),
                              .min_tokens = count("min_new_tokens", 0),
                              .stop = ReadStopStrings(fields),
                              .left_aside = {}};
  // -1 says the same as 0: all of them.
  if (fields.Has("top_k")) defaults.top_k = std::max(0, fields.Int("top_k", {-1, kMaxTopK}));
  if (!fields.Bool("do_sample", true)) defaults.temperature = 0.0;
  for (const std::string& key : fields.Members("")) {
    if (!IsNeutral(fields, key)) defaults.left_aside.push_back(key);
  }
  return defaults;
}

}  // namespace

absl::StatusOr<GenerationConfig> ReadGenerationConfig(const std::filesystem::path& file, int vocab_size,
                                                      GenerationPart part) {
  absl::StatusOr<JsonFields> fields = JsonFields::Read(file);
  if (!fields.ok()) return fields.status();
  const Range<int> ids = {0, vocab_size - 1};
  GenerationConfig config;
  if (fields->Has("bos_token_id")) config.bos_id = fields->Int("bos_token_id", ids);
  const std::vector<int> eos_ids = fields->Ints("eos_token_id", ids);
  config.eos_ids.assign(eos_ids.begin(), eos_ids.end());
  if (!fields->status().ok()) return fields->status();
  if (part == GenerationPart::kAll) config.defaults = ReadDefaults(*fields);
  if (fields->status().ok()) return config;
  return absl::InvalidArgumentError(absl::StrCat(
      fields->status().message(), "; correct it, or say with generation-config where else the defaults come from"));
}

}  // namespace latentd
