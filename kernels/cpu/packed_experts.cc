#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/cpu/experts.h"

namespace latentd::cpu {
namespace {

// A layer's matrices: memory for one after the other, then the copying of all as one region, since one of them has too
// few panels for many threads.
class ExpertPacker {
 public:
  explicit ExpertPacker(Device& device) : device_(device) {}

  absl::StatusOr<ExpertMlp> Reserve(const ExpertSource& source) {
    ExpertMlp mlp;
    for (const auto& [to, from] :
         {std::pair(&mlp.gate, &source.gate), std::pair(&mlp.up, &source.up), std::pair(&mlp.down, &source.down)}) {
      const RowSlice all = {0, from->outputs, Orientation::kAsStored};
      absl::StatusOr<PackedMatrix> packed = PackedMatrix::Reserve(device_, *from, all);
      if (!packed.ok()) return packed.status();
      auto matrix = std::make_unique<PackedMatrix>(*std::move(packed));
      unfilled_.push_back({.matrix = matrix.get(), .source = from, .slice = all});
      *to = std::move(matrix);
    }
    return mlp;
  }
  void Fill(ThreadPool& pool) const { PackedMatrix::Fill(pool, unfilled_); }

 private:
  Device& device_;
  std::vector<PackedMatrix::Unfilled> unfilled_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<const PackedExperts>> PackedExperts::Pack(Device& device, ThreadPool& pool,
                                                                         std::span<const ExpertSource> routed,
                                                                         const ExpertSource* shared) {
  auto experts = std::make_unique<PackedExperts>();
  ExpertPacker packer(device);
  for (const ExpertSource& source : routed) {
    absl::StatusOr<ExpertMlp> mlp = packer.Reserve(source);
    if (!mlp.ok()) return mlp.status();
    experts->routed.push_back(*std::move(mlp));
  }
  if (shared != nullptr) {
    absl::StatusOr<ExpertMlp> mlp = packer.Reserve(*shared);
    if (!mlp.ok()) return mlp.status();
    experts->shared = *std::move(mlp);
  }
  packer.Fill(pool);
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
