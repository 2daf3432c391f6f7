#include "tests/kernels/stored_latent.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/fp8.h"

namespace latentd {
namespace {

template <class T>
void Append(T value, std::vector<std::byte>& bytes) {
  const auto* from = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), from, from + sizeof(T));
}

template <class T>
T TakeAt(const std::byte*& at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  at += sizeof(T);
  return value;
}

}  // namespace

double ScaleOf(const std::vector<float>& key, int index, const LatentPages& pages) {
  const int first = index / kCodeGroup * kCodeGroup;
  double peak = 1e-4;
  for (int i = first; i < std::min(first + kCodeGroup, pages.latent_width); ++i) {
    const double value = key[static_cast<size_t>(i)];
    if (!std::isfinite(value)) return std::numeric_limits<double>::quiet_NaN();
    peak = std::max(peak, std::fabs(value));
  }
  int exponent = 0;
  const double fraction = std::frexp(peak / 448.0, &exponent);  // fraction · 2^exponent, from 0.5
  return std::ldexp(1.0, fraction == 0.5 ? exponent - 1 : exponent);
}

std::vector<std::byte> StoreLatent(const std::vector<float>& key, const LatentPages& pages) {
  std::vector<std::byte> slot;
  const auto latent = static_cast<size_t>(pages.latent_width);
  if (pages.format == LatentFormat::kFp8) {
    for (size_t i = 0; i < latent; ++i) {
      const double scale = ScaleOf(key, static_cast<int>(i), pages);
      Append(std::isnan(scale) ? uint8_t{0} : EncodeE4M3(static_cast<float>(key[i] / scale)), slot);
    }
    for (int group = 0; group < pages.num_groups(); ++group) {
      Append(static_cast<float>(ScaleOf(key, group * kCodeGroup, pages)), slot);
    }
    for (size_t i = latent; i < key.size(); ++i) Append(EncodeBf16(key[i]), slot);
    return slot;
  }
  for (size_t i = 0; i < static_cast<size_t>(pages.slot_values()); ++i) {
    const float value = i < key.size() ? key[i] : 0.0f;
    if (pages.format == LatentFormat::kF32) {
      Append(value, slot);
    } else {
      Append(EncodeBf16(value), slot);
    }
  }
  return slot;
}

std::vector<float> ReadLatent(const std::byte* slot, const LatentPages& pages) {
  std::vector<float> key;
  const int width = pages.latent_width + pages.rope_width;
  if (pages.format == LatentFormat::kFp8) {
    const std::byte* codes = slot;
    const std::byte* scales = slot + pages.latent_width;
    for (int i = 0; i < pages.latent_width; i += kCodeGroup) {
      const auto scale = TakeAt<float>(scales);
      for (int j = i; j < std::min(i + kCodeGroup, pages.latent_width); ++j) {
        key.push_back(DecodeE4M3(TakeAt<uint8_t>(codes)) * scale);
      }
    }
    for (int i = 0; i < pages.rope_width; ++i) key.push_back(DecodeBf16(TakeAt<uint16_t>(scales)));
    return key;
  }
  for (int i = 0; i < width; ++i) {
    key.push_back(pages.format == LatentFormat::kF32 ? TakeAt<float>(slot) : DecodeBf16(TakeAt<uint16_t>(slot)));
  }
  return key;
}

}  // namespace latentd
