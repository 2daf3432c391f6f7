#include "engine/model/checkpoint/tensor_names.h"

#include <algorithm>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

namespace latentd::tensor_names {
namespace {

constexpr std::string_view kLayers = "model.layers.";

constexpr bool Begins(std::string_view name, std::string_view part) { return name.starts_with(part); }
constexpr bool IsNorm(std::string_view name) { return name.ends_with(kNormEnd); }
static_assert(Begins(kRouter, kRouterPart) && Begins(kRoutingBias, kRouterPart));
static_assert(Begins(kMtpHeadNorm, kMtpHeadPart) && Begins(kMtpHead, kMtpHeadPart));
static_assert(IsNorm(kFinalNorm) && IsNorm(kAttentionNorm) && IsNorm(kFeedForwardNorm) && IsNorm(kQueryNorm));
static_assert(IsNorm(kKeyValueNorm) && IsNorm(kMtpEmbeddingNorm) && IsNorm(kMtpHiddenNorm) && IsNorm(kMtpHeadNorm));

// Whether `part` is in the name behind a dot.
bool Has(std::string_view name, std::string_view part) {
  const size_t at = name.find(part, 1);
  return at != name.npos && (name[at - 1] == '.' || Has(name.substr(at), part));
}

// The same of a part within another.
bool Has(std::string_view name, const char* outer, const char* inner) { return Has(name, absl::StrCat(outer, inner)); }

// The same of its last part.
bool Ends(std::string_view name, std::string_view part) {
  return name.size() > part.size() && name.ends_with(part) && name[name.size() - part.size() - 1] == '.';
}

}  // namespace

std::string ExpertPrefix(int expert) { return absl::StrCat(kExperts, expert, "."); }

std::string LayerPrefix(int layer) {
  return absl::StrCat(absl::string_view(kLayers.data(), kLayers.size()), layer, ".");
}

std::optional<int> LayerOf(std::string_view name) {
  int layer = 0;
  if (!name.starts_with(kLayers)) return std::nullopt;
  const std::string_view rest = name.substr(kLayers.size());
  const std::string_view digits = rest.substr(0, rest.find('.'));
  if (!absl::SimpleAtoi(absl::string_view(digits.data(), digits.size()), &layer)) return std::nullopt;
  return layer;
}

bool IsOnlyOfMtp(std::string_view name) {
  return Ends(name, kMtpProjection) || Ends(name, kMtpEmbeddingNorm) || Ends(name, kMtpHiddenNorm) ||
         Has(name, kMtpHeadPart);
}

bool IsScales(std::string_view name) {
  return name.ends_with(kScales) || (name.ends_with(kGroupScales) && !PackedWeightOf(name).empty());
}

std::string_view PackedWeightOf(std::string_view name) {
  for (const std::string_view end : {kPacked, kGroupScales, kPackedShape}) {
    const std::string_view weight = name.substr(0, name.size() - std::min(name.size(), end.size()));
    if (name.ends_with(end) && weight.ends_with(".weight")) return weight;
  }
  return {};
}

bool IsRoutedExpert(std::string_view name) { return Has(name, kMlp, kExperts); }

bool IsRotaryBuffer(std::string_view name) { return name.ends_with("rotary_emb.inv_freq"); }

std::string_view KindOf(std::string_view name) {
  if (IsScales(name)) return "scales";
  if (!PackedWeightOf(name).empty() && !name.ends_with(kPacked)) return "shapes";
  if (name == kEmbedding) return "embedding";
  if (name == kHead) return "head";
  if (Has(name, kIndexer)) return "indexer";
  if (IsNorm(name)) return "norms";
  if (Has(name, kAttention)) return "attention";
  if (IsRoutedExpert(name)) return "routed experts";
  if (Has(name, kSharedExperts)) return "shared experts";
  if (Has(name, kMlp, kRouterPart)) return "router";
  return Has(name, kMlp) ? "dense mlp" : "others";
}

}  // namespace latentd::tensor_names
