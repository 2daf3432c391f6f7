#include "tools/convert/config_json.h"

#include <string>

#include <nlohmann/json.hpp>

#include "engine/model/mapped_file.h"
#include "tools/convert/checkpoint_writer.h"

namespace latentd {
namespace {

constexpr const char* kQuantization = "quantization_config";

template <class Edit>
absl::Status EditJson(const std::filesystem::path& path, const Edit& edit) {
  nlohmann::ordered_json json;
  {
    const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
    if (!file.ok()) return file.status();
    json = nlohmann::ordered_json::parse(file->text(), nullptr, false);
  }
  if (!json.is_object()) {
    return InFile(path, absl::InvalidArgumentError("expected a JSON object, found something else"));
  }
  edit(json);
  return WriteText(path, json.dump(2) + "\n");
}

absl::Status DeclareWide(const std::filesystem::path& path, const char* dtype) {
  return EditJson(path, [dtype](nlohmann::ordered_json& json) {
    json.erase(kQuantization);
    json["torch_dtype"] = dtype;
  });
}

}  // namespace

absl::Status DeclareFp8(const std::filesystem::path& config_json, ScaleFormat format) {
  return EditJson(config_json, [format](nlohmann::ordered_json& json) {
    nlohmann::ordered_json quantization = {
        {"activation_scheme", "dynamic"}, {"fmt", "e4m3"}, {"quant_method", "fp8"}, {"weight_block_size", {128, 128}}};
    if (format == ScaleFormat::kUe8m0) quantization["scale_fmt"] = "ue8m0";
    json[kQuantization] = std::move(quantization);
  });
}

absl::Status DeclareBf16(const std::filesystem::path& config_json) { return DeclareWide(config_json, "bfloat16"); }

absl::Status DeclareF32(const std::filesystem::path& config_json) { return DeclareWide(config_json, "float32"); }

}  // namespace latentd
