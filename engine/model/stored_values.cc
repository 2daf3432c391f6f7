#include "engine/model/stored_values.h"

#include <cstring>
#include <optional>
#include <string_view>

#include <absl/strings/str_format.h>

#include "engine/model/mapped_file.h"
#include "engine/model/safetensors.h"
#include "engine/model/value_scan.h"
#include "kernels/fp8.h"

namespace latentd {

float StoredValues::At(size_t index) const {
  const std::byte* at = bytes.data() + index * SizeOf(dtype);
  switch (dtype) {
    case DType::kF32: {
      float value;
      std::memcpy(&value, at, sizeof(value));
      return value;
    }
    case DType::kBf16: {
      uint16_t bits;
      std::memcpy(&bits, at, sizeof(bits));
      return DecodeBf16(bits);
    }
    case DType::kE4M3:
      return DecodeE4M3(static_cast<uint8_t>(*at));
    case DType::kE8M0:
      return DecodeE8M0(static_cast<uint8_t>(*at));
  }
  return 0.0f;
}

std::vector<float> StoredValues::All() const {
  std::vector<float> values(bytes.size() / SizeOf(dtype));
  for (size_t i = 0; i < values.size(); ++i) values[i] = At(i);
  return values;
}

std::string StoredValues::PlaceText(size_t index) const {
  std::vector<int64_t> place = shape;
  for (size_t i = place.size(); i-- > 0;) {
    const auto width = static_cast<size_t>(shape[i]);
    place[i] = static_cast<int64_t>(index % width);
    index /= width;
  }
  return ShapeText(place);
}

absl::Status StoredValues::Invalid(std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrFormat("tensor %s: %s", Quoted(tensor), what));
}

absl::Status StoredValues::NotFinite(size_t index) const {
  return Invalid(absl::StrFormat("expected finite values, found %g at %s; the file is damaged, fetch it again",
                                 At(index), PlaceText(index)));
}

absl::Status StoredValues::CheckFinite() const {
  const std::optional<size_t> fault = FindNonFinite(dtype, bytes);
  return fault ? NotFinite(*fault) : absl::OkStatus();
}

}  // namespace latentd
