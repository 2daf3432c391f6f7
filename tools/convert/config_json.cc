#include "tools/convert/config_json.h"

#include <string>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/mapped_file.h"
#include "tools/convert/checkpoint_writer.h"

namespace latentd {
namespace {

constexpr const char* kQuantization = "quantization_config";

constexpr const char* kOldType = "torch_dtype";
constexpr const char* kNewType = "dtype";

using Json = nlohmann::ordered_json;

absl::StatusOr<Json> ReadJson(const std::filesystem::path& path) {
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  Json json = Json::parse(file->text(), nullptr, false);
  if (json.is_object()) return json;
  return InFile(path, absl::InvalidArgumentError("expected a JSON object, found something else"));
}

template <class Edit>
absl::Status EditJson(const std::filesystem::path& path, const Edit& edit) {
  absl::StatusOr<Json> json = ReadJson(path);
  if (!json.ok()) return json.status();
  edit(*json);
  return WriteText(path, json->dump(2) + "\n");
}

const char* NameOf(DType dtype) { return dtype == DType::kF32 ? "float32" : "bfloat16"; }

void SetType(Json& json, DType dtype) {
  const bool is_new = json.contains(kNewType);
  json.erase(is_new ? kOldType : kNewType);
  json[is_new ? kNewType : kOldType] = NameOf(dtype);
}

}  // namespace

absl::Status DeclareFp8(const std::filesystem::path& config_json, ScaleFormat format, DType others) {
  return EditJson(config_json, [&](Json& json) {
    Json quantization = {
        {"activation_scheme", "dynamic"}, {"fmt", "e4m3"}, {"quant_method", "fp8"}, {"weight_block_size", {128, 128}}};
    if (format == ScaleFormat::kUe8m0) quantization["scale_fmt"] = "ue8m0";
    json[kQuantization] = std::move(quantization);
    SetType(json, others);
  });
}

absl::Status DeclareUnquantized(const std::filesystem::path& config_json, DType dtype) {
  return EditJson(config_json, [dtype](Json& json) {
    json.erase(kQuantization);
    SetType(json, dtype);
  });
}

absl::Status CorrectType(const std::filesystem::path& config_json, DType dtype) {
  const absl::StatusOr<Json> json = ReadJson(config_json);
  if (!json.ok()) return json.status();
  const bool has_old = json->contains(kOldType), has_new = json->contains(kNewType);
  if (!has_old && !has_new) return absl::OkStatus();
  if (has_old != has_new && (*json)[has_new ? kNewType : kOldType] == NameOf(dtype)) return absl::OkStatus();
  return EditJson(config_json, [dtype](Json& edited) { SetType(edited, dtype); });
}

}  // namespace latentd
