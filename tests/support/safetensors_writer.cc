#include "tests/support/safetensors_writer.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "tests/support/temporary_directory.h"

namespace latentd {

std::string SafetensorsHeader(const std::vector<StoredTensor>& tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  size_t begin = 0;
  for (const StoredTensor& tensor : tensors) {
    const size_t end = begin + tensor.bytes.size();
    absl::StrAppendFormat(&header, R"(,"%s":{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]})", tensor.name,
                          tensor.dtype, absl::StrJoin(tensor.shape, ","), begin, end);
    begin = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return header;
}

std::string SafetensorsBytes(std::string_view header, std::string_view buffer) {
  std::string bytes;
  for (size_t i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(header.size() >> (8 * i)));
  return bytes.append(header).append(buffer);
}

std::string SafetensorsBytes(const std::vector<StoredTensor>& tensors) {
  std::string buffer;
  for (const StoredTensor& tensor : tensors) buffer += tensor.bytes;
  return SafetensorsBytes(SafetensorsHeader(tensors), buffer);
}

void WriteShards(const std::filesystem::path& directory, const std::vector<StoredTensor>& tensors, int num_shards) {
  if (num_shards == 1) {
    WriteFile(directory / "model.safetensors", SafetensorsBytes(tensors));
    return;
  }
  std::vector<std::vector<StoredTensor>> shards(static_cast<size_t>(num_shards));
  std::vector<std::string> entries;
  size_t total_bytes = 0;
  const auto file_name = [&](size_t shard) {
    return absl::StrFormat("model-%05d-of-%05d.safetensors", shard + 1, num_shards);
  };
  for (size_t i = 0; i < tensors.size(); ++i) {
    const size_t shard = i % shards.size();
    shards[shard].push_back(tensors[i]);
    entries.push_back(absl::StrFormat(R"("%s":"%s")", tensors[i].name, file_name(shard)));
    total_bytes += tensors[i].bytes.size();
  }
  for (size_t shard = 0; shard < shards.size(); ++shard) {
    WriteFile(directory / file_name(shard), SafetensorsBytes(shards[shard]));
  }
  WriteFile(
      directory / "model.safetensors.index.json",
      absl::StrFormat(R"({"metadata":{"total_size":%d},"weight_map":{%s}})", total_bytes, absl::StrJoin(entries, ",")));
}

}  // namespace latentd
