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

// Modules that are Linear and stay as they are. MTP layers have two that no other layer has.
Json Int4Ignore(const Json& config, Int4Tensors tensors) {
  Json ignore = {"lm_head"};
  if (tensors == Int4Tensors::kProjections) {
    for (const char* name : {"re:.*kv_b_proj.*", "re:.*indexer.weights_proj.*"}) ignore.push_back(name);
  } else {
    for (const char* name : {"re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"}) {
      ignore.push_back(name);
    }
  }
  const auto mtp_layers = config.find("num_nextn_predict_layers");
  if (mtp_layers != config.end() && mtp_layers->is_number_integer() && *mtp_layers > 0) {
    for (const char* name : {"re:.*eh_proj.*", "re:.*shared_head.*"}) ignore.push_back(name);
  }
  return ignore;
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

absl::Status DeclareInt4(const std::filesystem::path& config_json, Int4Tensors tensors, DType others) {
  return EditJson(config_json, [&](Json& json) {
    const Json weights = {{"actorder", nullptr},
                          {"block_structure", nullptr},
                          {"dynamic", false},
                          {"group_size", kInt4Group},
                          {"num_bits", 4},
                          {"observer", "minmax"},
                          {"observer_kwargs", Json::object()},
                          {"strategy", "group"},
                          {"symmetric", true},
                          {"type", "int"}};
    const Json scheme = {{"input_activations", nullptr},
                         {"output_activations", nullptr},
                         {"targets", Json::array({"Linear"})},
                         {"weights", weights}};
    json[kQuantization] = {{"config_groups", {{"group_0", scheme}}}, {"format", "pack-quantized"},
                           {"ignore", Int4Ignore(json, tensors)},    {"kv_cache_scheme", nullptr},
                           {"quant_method", "compressed-tensors"},   {"quantization_status", "compressed"}};
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
