#include "tests/cuda_emulator/runtime/history.h"

#include <algorithm>

#include "tests/cuda_emulator/runtime/failure.h"

namespace cuda_emulator {
namespace {

constexpr uint32_t kCachedSetBits = 12;

// The publications of this launch, by the atomic's address.
std::unordered_map<const void*, PublishedByBlock> published_at;

AccessIds& Ids() { return AccessIds::Get(); }

}  // namespace

void BlockHistory::BeginLaunch() {
  AccessIds::Get().BeginLaunch();
  published_at.clear();
}

void BlockHistory::TakeChunk() {
  chunks_.push_back(Ids().TakeChunk(block_->number));
  next_id_ = chunks_.back() << kChunkBits;
}

AccessId BlockHistory::NewId() {
  if ((next_id_ & (kChunkIds - 1)) == 0) TakeChunk();
  const AccessId id = next_id_;
  next_id_ += 2;
  warp_ids_[running->state.warp].push_back(id);
  return id;
}

AccessId BlockHistory::OwnId(AccessKind kind) {
  Thread& thread = *running;
  if (thread.segment < first_id_) {
    thread.segment = NewId();
    AccessRecord& record = Ids().RecordOf(thread.segment);
    record.clock = clock_;
    record.thread = static_cast<uint16_t>(thread.index);
    record.is_set = false;
  }
  return kind == AccessKind::kAtomic ? thread.segment | kAtomicBit : thread.segment;
}

void BlockHistory::BeginBlock(Block& block) {
  block_ = &block;
  if (num_restarts_ != Ids().num_restarts()) {
    num_restarts_ = Ids().num_restarts();
    cached_sets_.assign(size_t{1} << kCachedSetBits, {});
  }
  TakeChunk();
  next_id_ += 2;  // NewId takes a chunk at each multiple of its size
  fenced_ = false;
  fenced_below_ = 0;
  seen_.clear();
  SynchroniseBlock();
}

void BlockHistory::EndBlock() {
  for (const uint32_t chunk : chunks_) Ids().ForgetChunk(chunk);
  chunks_.clear();
}

void BlockHistory::SynchroniseBlock() {
  ++clock_;
  for (size_t i = 0; i + 1 < chunks_.size(); ++i) Ids().ForgetChunk(chunks_[i]);
  chunks_.erase(chunks_.begin(), chunks_.end() - 1);
  first_id_ = next_id_;
  bitmaps_.clear();
  for (auto& ids : warp_ids_) ids.clear();
  if (fenced_) {
    fenced_ = false;
    fenced_below_ = first_id_;
    for (uint32_t i = 0; i < block_->num_threads; ++i) block_->threads[i]->fenced = false;
  }
}

void BlockHistory::EndSegments(uint32_t warp, uint32_t lanes) {
  for (uint32_t left = lanes; left != 0; left &= left - 1) {
    block_->threads[warp * kWarpSize + LowestBit(left)]->segment = 0;
  }
}

void BlockHistory::SynchroniseLanes(uint32_t warp, uint32_t lanes) {
  ++clock_;
  uint32_t known[kWarpSize] = {};
  for (uint32_t left = lanes; left != 0; left &= left - 1) {
    const uint32_t(&of_lane)[kWarpSize] = known_lanes_[warp][LowestBit(left)];
    for (uint32_t i = 0; i < kWarpSize; ++i) known[i] = std::max(known[i], of_lane[i]);
  }
  for (uint32_t i = 0; i < kWarpSize; ++i) known[i] = (lanes >> i & 1) != 0 ? clock_ : known[i];
  for (uint32_t left = lanes; left != 0; left &= left - 1) {
    std::copy(known, known + kWarpSize, known_lanes_[warp][LowestBit(left)]);
  }
  EndSegments(warp, lanes);
}

void BlockHistory::SynchroniseWarps(uint32_t warps) {
  ++clock_;
  uint32_t known[kMaxWarps] = {};
  for (uint32_t left = warps; left != 0; left &= left - 1) {
    const uint32_t(&of_warp)[kMaxWarps] = known_warps_[LowestBit(left)];
    for (uint32_t i = 0; i < kMaxWarps; ++i) known[i] = std::max(known[i], of_warp[i]);
  }
  for (uint32_t i = 0; i < kMaxWarps; ++i) known[i] = (warps >> i & 1) != 0 ? clock_ : known[i];
  for (uint32_t left = warps; left != 0; left &= left - 1) {
    const uint32_t warp = LowestBit(left);
    std::copy(known, known + kMaxWarps, known_warps_[warp]);
    std::fill(&known_lanes_[warp][0][0], &known_lanes_[warp][0][0] + kWarpSize * kWarpSize, clock_);
    EndSegments(warp, block_->warps[warp].existing);
  }
}

void BlockHistory::Fence() {
  running->fenced = true;
  fenced_ = true;
}

void BlockHistory::See(const void* address) {
  const auto found = published_at.find(address);
  if (found == published_at.end()) return;
  for (const auto& [block, published] : found->second) {
    if (block != block_->number) seen_[block].Merge(published);
  }
}

void BlockHistory::Publish(const void* address) {
  Published own;
  if (running->fenced) {
    const uint32_t warp = running->state.warp;
    own.below = first_id_;
    own.also = warp_ids_[warp];
    EndSegments(warp, block_->warps[warp].existing);  // what comes after the atomic is not published
  } else if (fenced_below_ > 0) {
    own.below = fenced_below_;
  } else {
    return;
  }
  PublishedByBlock& published = published_at[address];
  published[block_->number].Merge(own);
  for (const auto& [block, seen] : seen_) published[block].Merge(seen);
}

bool BlockHistory::IsOtherBlocks(const Region& region, AccessId id) const {
  return region.shared_by_blocks && id >= Ids().first_of_launch() && Ids().BlockOf(id) != block_->number;
}

// Below it, no id of the region can matter.
AccessId BlockHistory::SettledBelow(const Region& region) const {
  return region.shared_by_blocks ? Ids().first_of_launch() : first_id_;
}

bool BlockHistory::IsOrderedSegment(AccessId id, AccessKind kind) const {
  if (kind == AccessKind::kAtomic && IsAtomic(id)) return true;
  const AccessRecord& segment = Ids().RecordOf(id);
  const Thread& thread = *running;
  const uint32_t warp = segment.thread / kWarpSize;
  if (warp != thread.state.warp) return known_warps_[thread.state.warp][warp] > segment.clock;
  if (segment.thread == thread.index) return true;
  return known_lanes_[warp][thread.state.lane][segment.thread % kWarpSize] > segment.clock;
}

AccessId BlockHistory::FirstUnordered(AccessId id, AccessKind kind) const {
  for (;;) {
    const AccessRecord& record = Ids().RecordOf(id);
    if (!record.is_set) return IsOrderedSegment(id, kind) ? 0 : id;
    if (!IsOrderedSegment(record.members[1], kind)) return record.members[1];
    id = record.members[0];
  }
}

AccessId BlockHistory::FirstConflict(const Region& region, AccessId id, AccessKind kind) const {
  if (id < SettledBelow(region)) return 0;
  if (!IsOtherBlocks(region, id)) return id < first_id_ ? 0 : FirstUnordered(id, kind);
  if (kind == AccessKind::kAtomic && IsAtomic(id)) return 0;
  const auto seen = seen_.find(Ids().BlockOf(id));
  return seen != seen_.end() && seen->second.Includes(id) ? 0 : id;
}

BlockHistory::ThreadBitmap BlockHistory::BitmapOf(AccessId id) const {
  const AccessRecord& record = Ids().RecordOf(id);
  if (record.is_set) return bitmaps_[record.bitmap];
  ThreadBitmap bitmap = {};
  bitmap[record.thread / 64] = uint64_t{1} << record.thread % 64;
  return bitmap;
}

AccessId BlockHistory::Chain(AccessId set, AccessId segment) {
  ThreadBitmap bitmap = BitmapOf(set);
  const uint32_t thread = Ids().RecordOf(segment).thread;
  bitmap[thread / 64] |= uint64_t{1} << thread % 64;
  const AccessId id = NewId();
  AccessRecord& record = Ids().RecordOf(id);
  record.is_set = true;
  record.bitmap = static_cast<uint32_t>(bitmaps_.size());
  record.members[0] = set;
  record.members[1] = segment;
  bitmaps_.push_back(bitmap);
  return id | (set & segment & kAtomicBit);
}

// What is ordered after the running thread's own access is ordered after the segment too, so it need not be remembered.
bool BlockHistory::IsCoveredBy(AccessId segment, AccessId own) const {
  return (!IsAtomic(own) || IsAtomic(segment)) && IsOrderedSegment(segment, AccessKind::kPlain);
}

AccessId BlockHistory::MakeSet(AccessId old, AccessId own) {
  const uint32_t thread = running->index;
  if ((BitmapOf(old)[thread / 64] >> thread % 64 & 1) == 0) return Chain(old, own);
  // The thread is in it, now or since before a synchronisation: take out what that has ordered.
  std::vector<AccessId> kept;
  for (AccessId rest = old;;) {
    const AccessRecord& record = Ids().RecordOf(rest);
    const AccessId segment = record.is_set ? record.members[1] : rest;
    if (segment == own) return old;
    if (!IsCoveredBy(segment, own)) kept.push_back(segment);
    if (!record.is_set) break;
    rest = record.members[0];
  }
  AccessId set = own;
  for (const AccessId segment : kept) set = Chain(set, segment);
  return set;
}

AccessId BlockHistory::Add(AccessId old, AccessId own) {
  if (old == own) return own;
  if (!Ids().RecordOf(old).is_set && IsCoveredBy(old, own)) return own;
  const uint64_t key = uint64_t{old} << 32 | own;
  CachedSet& cached = cached_sets_[(key * 0x9E3779B97F4A7C15ull) >> (64 - kCachedSetBits)];
  if (cached.key != key) cached = {key, MakeSet(old, own)};
  return cached.set;
}

}  // namespace cuda_emulator
