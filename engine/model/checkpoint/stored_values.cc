#include "engine/model/checkpoint/stored_values.h"

#include <optional>
#include <string_view>

#include <absl/strings/str_format.h>

#include "base/number_text.h"
#include "base/quoting.h"
#include "engine/model/checkpoint/safetensors.h"
#include "engine/model/checkpoint/value_scan.h"
#include "kernels/stored_value.h"

namespace latentd {

absl::Status InvalidTensor(std::string_view name, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrFormat("tensor %s: %s", Quoted(name), what));
}

absl::Status CheckShape(std::string_view name, const std::vector<int64_t>& expected,
                        const std::vector<int64_t>& found) {
  if (found == expected) return absl::OkStatus();
  return InvalidTensor(name, absl::StrFormat("expected the shape %s, found %s; does config.json belong to it?",
                                             ShapeText(expected), ShapeText(found)));
}

float StoredValues::At(size_t index) const { return StoredNumber(dtype, bytes.data() + index * SizeOf(dtype)); }

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

absl::Status StoredValues::NotFinite(size_t index) const {
  return InvalidTensor(tensor,
                       absl::StrFormat("expected finite values, found %s at %s; the file is damaged, fetch it again",
                                       NumberText(At(index)), PlaceText(index)));
}

absl::Status StoredValues::CheckFinite() const {
  const std::optional<size_t> fault = FindNonFinite(dtype, bytes);
  return fault ? NotFinite(*fault) : absl::OkStatus();
}

}  // namespace latentd
