#include "server/port_file.h"

#include <cstdio>
#include <fstream>

#include <absl/strings/str_format.h>

namespace latentd {

absl::Status WritePortFile(const std::string& path, const std::string& grpc_address,
                           const std::string& metrics_address) {
  const std::string unfinished = path + ".tmp";
  std::ofstream file(unfinished, std::ios::trunc);
  file << absl::StrFormat("{\"grpc\": \"%s\", \"metrics\": \"%s\"}\n", grpc_address, metrics_address);
  file.close();
  if (!file || std::rename(unfinished.c_str(), path.c_str()) != 0) {
    return absl::PermissionDeniedError(
        absl::StrFormat("port-file: expected a path that can be written, found %s; choose another", path));
  }
  return absl::OkStatus();
}

}  // namespace latentd
