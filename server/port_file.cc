#include "server/port_file.h"

#include <cstdio>
#include <fstream>

#include <absl/strings/str_format.h>

namespace latentd {

absl::Status WritePortFile(const std::string& path, const BoundAddresses& addresses) {
  if (path.empty()) return absl::OkStatus();
  const std::string unfinished = path + ".tmp";
  std::ofstream file(unfinished, std::ios::trunc);
  file << absl::StrFormat("{\"grpc\": \"%s\", \"metrics\": \"%s\"", addresses.grpc, addresses.metrics);
  if (!addresses.admin.empty()) file << absl::StrFormat(", \"admin\": \"%s\"", addresses.admin);
  file << "}\n";
  file.close();
  if (!file || std::rename(unfinished.c_str(), path.c_str()) != 0) {
    return absl::PermissionDeniedError(
        absl::StrFormat("port-file: expected a path that can be written, found %s; choose another", path));
  }
  return absl::OkStatus();
}

}  // namespace latentd
