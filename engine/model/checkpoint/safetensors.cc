#include "engine/model/checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "base/file.h"
#include "base/json_reader.h"
#include "base/quoting.h"

namespace latentd {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the canonical library's own bound
constexpr size_t kMaxHeaderDepth = 3;              // the header, a tensor, its shape
constexpr size_t kMaxRank = 8;

struct StoredType {
  std::string_view name;
  uint64_t bytes;
};
constexpr std::array kStoredTypes = {
    StoredType{"BOOL", 1},    StoredType{"U8", 1},  StoredType{"I8", 1},  StoredType{"F8_E4M3", 1},
    StoredType{"F8_E5M2", 1}, StoredType{"I16", 2}, StoredType{"U16", 2}, StoredType{"F8_E8M0", 1},
    StoredType{"F16", 2},     StoredType{"I32", 4}, StoredType{"U32", 4}, StoredType{"BF16", 2},
    StoredType{"F32", 4},     StoredType{"I64", 8}, StoredType{"U64", 8}, StoredType{"F64", 8},
};

absl::Status Invalid(std::string_view tensor, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrFormat("tensor %s: %s", Quoted(tensor), what));
}

// Collects the entries of one header from its JSON values.
class HeaderReader {
 public:
  absl::Status Visit(std::span<const std::string> path, const JsonValue& value) {
    switch (path.size()) {
      case 0:
        if (value == JsonValue(JsonContainer::kObject)) return absl::OkStatus();
        return absl::InvalidArgumentError(absl::StrFormat("header: expected an object, found %s", Describe(value)));
      case 1:
        return OpenMember(path[0], value);
      case 2:
        return path[0] == kMetadata ? ReadMetadata(path[1], value) : ReadField(path[1], value);
      default:
        return ReadListItem(path[1], value);
    }
  }

  // Every entry with its three fields, or which of them is absent.
  absl::StatusOr<std::vector<SafetensorsEntry>> Finish() && {
    if (absl::Status status = CloseEntry(); !status.ok()) return status;
    return std::move(entries_);
  }

 private:
  static constexpr std::string_view kMetadata = "__metadata__";

  absl::Status OpenMember(const std::string& name, const JsonValue& value) {
    if (absl::Status status = CloseEntry(); !status.ok()) return status;
    if (value != JsonValue(JsonContainer::kObject)) {
      return Invalid(name, absl::StrFormat("expected an object, found %s", Describe(value)));
    }
    if (name == kMetadata) return absl::OkStatus();
    entries_.emplace_back().name = name;
    open_ = true;
    has_shape_ = false;
    num_offsets_ = 0;
    return absl::OkStatus();
  }

  absl::Status ReadMetadata(const std::string& key, const JsonValue& value) const {
    if (std::holds_alternative<std::string>(value)) return absl::OkStatus();
    return Invalid(kMetadata, absl::StrFormat("%s: expected a string, found %s", Quoted(key), Describe(value)));
  }

  absl::Status ReadField(const std::string& field, const JsonValue& value) {
    SafetensorsEntry& entry = entries_.back();
    if (field == "dtype") {
      const std::string* name = std::get_if<std::string>(&value);
      const auto type = std::find_if(kStoredTypes.begin(), kStoredTypes.end(),
                                     [&](const StoredType& t) { return name != nullptr && t.name == *name; });
      if (type == kStoredTypes.end()) {
        return Invalid(entry.name,
                       absl::StrFormat("expected a dtype such as BF16 or F8_E4M3, found %s", Describe(value)));
      }
      entry.dtype = type->name;
      return absl::OkStatus();
    }
    if (field != "shape" && field != "data_offsets") {
      return Invalid(entry.name,
                     absl::StrFormat("expected dtype, shape and data_offsets, found the field %s", Quoted(field)));
    }
    if (value != JsonValue(JsonContainer::kArray)) {
      return Invalid(entry.name, absl::StrFormat("%s: expected a list, found %s", field, Describe(value)));
    }
    if (field == "shape") has_shape_ = true;
    return absl::OkStatus();
  }

  absl::Status ReadListItem(const std::string& field, const JsonValue& value) {
    SafetensorsEntry& entry = entries_.back();
    const int64_t* number = std::get_if<int64_t>(&value);
    if (number == nullptr || *number < 0) {
      return Invalid(entry.name,
                     absl::StrFormat("%s: expected integers from 0 to 2^63-1, found %s", field, Describe(value)));
    }
    if (field == "shape") {
      if (entry.shape.size() == kMaxRank) {
        return Invalid(entry.name, absl::StrFormat("expected at most %d dimensions, found more", kMaxRank));
      }
      entry.shape.push_back(*number);
      return absl::OkStatus();
    }
    if (num_offsets_ == 2) return Invalid(entry.name, "expected two data_offsets, found more");
    (num_offsets_ == 0 ? entry.begin : entry.end) = static_cast<uint64_t>(*number);
    ++num_offsets_;
    return absl::OkStatus();
  }

  absl::Status CloseEntry() {
    if (!open_) return absl::OkStatus();
    open_ = false;
    const SafetensorsEntry& entry = entries_.back();
    if (entry.dtype.empty()) return Invalid(entry.name, "expected a dtype, found none");
    if (!has_shape_) return Invalid(entry.name, "expected a shape, found none");
    if (num_offsets_ != 2) {
      return Invalid(entry.name, absl::StrFormat("expected two data_offsets, found %d", num_offsets_));
    }
    return absl::OkStatus();
  }

  std::vector<SafetensorsEntry> entries_;
  bool open_ = false;  // the last entry is still being read
  bool has_shape_ = false;
  int num_offsets_ = 0;
};

// Bytes that a tensor of this dtype and shape takes, nothing where they overflow.
std::optional<uint64_t> ByteSize(const SafetensorsEntry& entry) {
  uint64_t size = 0;
  for (const StoredType& type : kStoredTypes) {
    if (type.name == entry.dtype) size = type.bytes;
  }
  for (const int64_t dimension : entry.shape) {
    if (__builtin_mul_overflow(size, static_cast<uint64_t>(dimension), &size)) return std::nullopt;
  }
  return size;
}

absl::Status CheckSize(const SafetensorsEntry& entry, uint64_t buffer_bytes) {
  if (entry.begin > entry.end || entry.end > buffer_bytes) {
    return Invalid(entry.name,
                   absl::StrFormat("expected data_offsets that rise within the %d bytes of the file's buffer, "
                                   "found [%d, %d]; the file is cut or damaged, fetch it again",
                                   buffer_bytes, entry.begin, entry.end));
  }
  const std::optional<uint64_t> size = ByteSize(entry);
  if (size != entry.end - entry.begin) {
    const std::string expected = size ? absl::StrCat(*size) : "more than 2^64";
    return Invalid(entry.name, absl::StrFormat("expected %s bytes for %s %s, found %d", expected, entry.dtype,
                                               ShapeText(entry.shape), entry.end - entry.begin));
  }
  return absl::OkStatus();
}

absl::Status CheckCoverage(std::span<const SafetensorsEntry> entries, uint64_t buffer_bytes) {
  uint64_t covered = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != covered) {
      const char* fault = entry.begin < covered ? "overlaps the tensor before it" : "leaves a gap before it";
      return Invalid(entry.name,
                     absl::StrFormat("expected to begin at byte %d, found %d: it %s", covered, entry.begin, fault));
    }
    covered = entry.end;
  }
  if (covered == buffer_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("expected tensors up to the last byte, found %d of %d bytes used", covered, buffer_bytes));
}

uint64_t LittleEndian(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return value;
}

// Bytes of the JSON header behind the length.
absl::StatusOr<uint64_t> HeaderLength(std::span<const std::byte> file) {
  if (file.size() < kLengthBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected a safetensors file, found only %d bytes; fetch it again", file.size()));
  }
  const uint64_t length = LittleEndian(file);
  const uint64_t available = file.size() - kLengthBytes;
  if (length > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected a header of at most %d bytes, found a length of %d", kMaxHeaderBytes, length));
  }
  if (length > available) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected a header of %d bytes, found %d: the file is cut, fetch it again", length, available));
  }
  if (length == 0 || file[kLengthBytes] != std::byte{'{'}) {
    return absl::InvalidArgumentError("header: expected JSON that begins with '{', found something else");
  }
  return length;
}

}  // namespace

std::string ShapeText(std::span<const int64_t> shape) { return absl::StrCat("[", absl::StrJoin(shape, ", "), "]"); }

absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensorsHeader(std::string_view json, uint64_t buffer_bytes) {
  HeaderReader reader;
  const auto visit = [&](std::span<const std::string> path, const JsonValue& value) {
    return reader.Visit(path, value);
  };
  if (absl::Status status = WalkJson(json, kMaxHeaderDepth, visit); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("header: ", status.message()));
  }
  absl::StatusOr<std::vector<SafetensorsEntry>> entries = std::move(reader).Finish();
  if (!entries.ok()) return entries;
  for (const SafetensorsEntry& entry : *entries) {
    if (absl::Status status = CheckSize(entry, buffer_bytes); !status.ok()) return status;
  }
  std::sort(entries->begin(), entries->end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  if (absl::Status status = CheckCoverage(*entries, buffer_bytes); !status.ok()) return status;
  return entries;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& path) {
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  const absl::StatusOr<uint64_t> length = HeaderLength(file->bytes());
  if (!length.ok()) return InFile(path, length.status());
  const std::string_view json = file->text().substr(kLengthBytes, *length);
  const std::span<const std::byte> buffer = file->bytes().subspan(kLengthBytes + *length);
  absl::StatusOr<std::vector<SafetensorsEntry>> entries = ParseSafetensorsHeader(json, buffer.size());
  if (!entries.ok()) return InFile(path, entries.status());
  return SafetensorsFile(*std::move(file), *std::move(entries), buffer);
}

}  // namespace latentd
