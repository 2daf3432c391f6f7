#include <algorithm>
#include <utility>

#include "kernels/cpu/experts.h"

namespace latentd::cpu {
namespace {

absl::StatusOr<std::unique_ptr<const PackedMatrix>> PackOne(Device& device, ThreadPool& pool,
                                                            const MatrixSource& source) {
  absl::StatusOr<PackedMatrix> packed =
      PackedMatrix::Pack(device, pool, source, {0, source.outputs, Orientation::kAsStored});
  if (!packed.ok()) return packed.status();
  return std::make_unique<const PackedMatrix>(*std::move(packed));
}

absl::StatusOr<ExpertMlp> PackMlp(Device& device, ThreadPool& pool, const ExpertSource& source) {
  ExpertMlp mlp;
  for (const auto& [to, from] :
       {std::pair(&mlp.gate, &source.gate), std::pair(&mlp.up, &source.up), std::pair(&mlp.down, &source.down)}) {
    absl::StatusOr<std::unique_ptr<const PackedMatrix>> packed = PackOne(device, pool, *from);
    if (!packed.ok()) return packed.status();
    *to = *std::move(packed);
  }
  return mlp;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const PackedExperts>> PackedExperts::Pack(Device& device, ThreadPool& pool,
                                                                         std::span<const ExpertSource> routed,
                                                                         const ExpertSource* shared) {
  auto experts = std::make_unique<PackedExperts>();
  for (const ExpertSource& source : routed) {
    absl::StatusOr<ExpertMlp> mlp = PackMlp(device, pool, source);
    if (!mlp.ok()) return mlp.status();
    experts->routed.push_back(*std::move(mlp));
  }
  if (shared != nullptr) {
    absl::StatusOr<ExpertMlp> mlp = PackMlp(device, pool, *shared);
    if (!mlp.ok()) return mlp.status();
    experts->shared = *std::move(mlp);
  }
  return experts;
}

bool PackedExperts::Read(InputKind kind, ActivationFormat format, bool has_codes) const {
  const auto reads = [=](const std::unique_ptr<const PackedMatrix>& w) {
    return w != nullptr && KindFor(*w, format, has_codes) == kind;
  };
  const auto reads_any = [&](const ExpertMlp& expert) { return reads(expert.gate) || reads(expert.up); };
  return reads_any(shared) || std::any_of(routed.begin(), routed.end(), reads_any);
}

}  // namespace latentd::cpu
