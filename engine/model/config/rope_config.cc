#include "engine/model/config/rope_config.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "base/number_text.h"
#include "base/quoting.h"

namespace latentd {
namespace {

constexpr Range<double> kThetas = {1.001, 1e12};
constexpr Range<double> kMscales = {0.0, 100.0};

constexpr std::array<std::string_view, 12> kKnownKeys = {
    "rope_type",        "type",      "factor",     "original_max_position_embeddings",
    "beta_fast",        "beta_slow", "mscale",     "mscale_all_dim",
    "attention_factor", "truncate",  "rope_theta", "partial_rotary_factor"};

class RopeReader {
 public:
  RopeReader(JsonFields& fields, int max_context, std::vector<std::string>& warnings)
      : fields_(fields), max_context_(max_context), warnings_(warnings) {}

  RopeFacts Read() {
    const std::string scaling = PathOf("rope_scaling"), parameters = PathOf("rope_parameters");
    if (parameters.empty()) return ReadAt(scaling, /*default_type=*/std::nullopt);
    if (!scaling.empty()) CheckSame(scaling, parameters);
    return ReadAt(parameters, "default");
  }

 private:
  static bool IsObject(const JsonValue& value) { return value == JsonValue(JsonContainer::kObject); }

  // Files that were written for both generations of readers have both.
  void CheckSame(const std::string& scaling, const std::string& parameters) {
    JsonFields fields = fields_;
    std::vector<std::string> no_warnings;
    RopeReader reader(fields, max_context_, no_warnings);
    const RopeFacts newer = reader.ReadAt(parameters, "default");
    RopeFacts older = reader.ReadAt(scaling, std::nullopt);
    const bool has_theta = fields.Has("rope_theta") || fields.Has(scaling + ".rope_theta");
    if (!has_theta) older.theta = newer.theta;
    fields_.Require(fields.status().ok() && older == newer, "rope_scaling",
                    "nothing beside rope_parameters, or the same; remove one of the two");
  }

  // Where the keys are: under `key` or, where it has an object for each kind of layer, under one of those, which must
  // agree. Empty where there are none.
  std::string PathOf(const std::string& key) {
    if (!fields_.Has(key)) return {};
    if (!IsObject(fields_.Value(key))) {
      fields_.Refuse(key, "an object");
      return {};
    }
    std::vector<std::string> kinds;
    for (const std::string& member : fields_.Members(key)) {
      if (IsObject(fields_.Value(key + "." + member))) kinds.push_back(key + "." + member);
    }
    if (kinds.empty()) return fields_.Members(key).empty() ? "" : key;
    std::vector<std::string> no_warnings;
    RopeReader quiet(fields_, max_context_, no_warnings);
    for (const std::string& kind : kinds) {
      if (quiet.ReadAt(kind, "default") == quiet.ReadAt(kinds.front(), "default")) continue;
      fields_.Refuse(kind, "the same rotation for every kind of layer, as latent attention has it");
    }
    return kinds.front();
  }

  // Empty: none but what stands at the top of the file.
  RopeFacts ReadAt(const std::string& path, std::optional<std::string> default_type) {
    const std::string at = path + ".";
    RopeFacts facts;
    const std::string theta = fields_.Has(at + "rope_theta") ? at + "rope_theta" : "rope_theta";
    facts.theta = fields_.Number(theta, kThetas, 10000.0);
    facts.pairs = fields_.Bool("rope_interleave", true) ? RopePairs::kAdjacent : RopePairs::kHalfSplit;
    for (const std::string& partial : {std::string("partial_rotary_factor"), at + "partial_rotary_factor"}) {
      fields_.Require(fields_.Number(partial, {0.0, 1.0}, 1.0) == 1.0, partial, "1");
    }
    if (path.empty()) return facts;
    const std::string type_key = fields_.Has(at + "rope_type") ? at + "rope_type" : at + "type";
    const std::string type = fields_.String(type_key, std::move(default_type));
    // vLLM's own word for it, in files that passed through there.
    const bool is_yarn = type == "yarn" || type == "deepseek_yarn";
    fields_.Require(is_yarn || type == "default", type_key, "yarn or default");
    fields_.Require(fields_.String(at + "type", type) == type, at + "type", "the same as rope_type");
    WarnOfUnknownKeys(path);
    if (is_yarn) facts.yarn = ReadYarn(at);
    return facts;
  }

  YarnScaling ReadYarn(const std::string& at) {
    YarnScaling yarn;
    yarn.factor = fields_.Number(at + "factor", {1.0, 1e4});
    yarn.original_context = ReadOriginalContext(at);
    yarn.beta_fast = fields_.Number(at + "beta_fast", {1e-3, 1e6}, 32.0);
    yarn.beta_slow = fields_.Number(at + "beta_slow", {1e-3, 1e6}, 1.0);
    yarn.mscale = fields_.Number(at + "mscale", kMscales, 0.0);
    yarn.mscale_all_dim = fields_.Number(at + "mscale_all_dim", kMscales, 0.0);
    fields_.Require(yarn.beta_slow <= yarn.beta_fast, at + "beta_slow",
                    absl::StrFormat("at most beta_fast = %s", NumberText(yarn.beta_fast)));
    fields_.Require(!fields_.Has(at + "attention_factor"), at + "attention_factor",
                    "mscale and mscale_all_dim instead");
    fields_.Require(fields_.Bool(at + "truncate", true), at + "truncate", "true");
    return yarn;
  }

  int ReadOriginalContext(const std::string& at) {
    const std::string key = "original_max_position_embeddings";
    if (fields_.Has(at + key)) return fields_.Int(at + key, kContexts);
    if (fields_.Has(key)) return fields_.Int(key, kContexts);
    warnings_.push_back(absl::StrFormat(
        "config.json: %s%s is not there: max_position_embeddings = %d is taken for it, as transformers does", at, key,
        max_context_));
    return max_context_;
  }

  void WarnOfUnknownKeys(const std::string& path) {
    std::vector<std::string> unknown;
    for (const std::string& member : fields_.Members(path)) {
      const bool is_known = std::find(kKnownKeys.begin(), kKnownKeys.end(), member) != kKnownKeys.end();
      if (!is_known && fields_.Has(path + "." + member)) unknown.push_back(Quoted(member));
    }
    if (unknown.empty()) return;
    warnings_.push_back(
        absl::StrFormat("config.json: %s has keys that nothing reads: %s", path, absl::StrJoin(unknown, ", ")));
  }

  JsonFields& fields_;
  const int max_context_;
  std::vector<std::string>& warnings_;
};

}  // namespace

RopeFacts ReadRope(JsonFields& fields, int max_context, std::vector<std::string>& warnings) {
  return RopeReader(fields, max_context, warnings).Read();
}

}  // namespace latentd
