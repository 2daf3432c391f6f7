#include "tools/doctor/listener_checks.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/quoting.h"
#include "server/net/address.h"
#include "server/net/listening_socket.h"
#include "tools/doctor/port_holder.h"

namespace latentd {
namespace {

// A daemon that serves is no fault of the machine's, but this configuration cannot start a second one.
Finding Taken(std::string_view knob, const Address& address) {
  const PortHolder holder = FindPortHolder(address, "/");
  const std::string who = holder.name.empty() ? "a process that this user cannot see"
                                              : absl::StrFormat("%s (pid %d)", Quoted(holder.name), holder.pid);
  return {.check = std::string(knob),
          .severity = holder.name == "latentd" ? Severity::kWarning : Severity::kError,
          .found = absl::StrFormat("%s is in use by %s", address.ToString(), who),
          .advice = absl::StrFormat("stop it first, or choose another address with --%s", knob)};
}

Finding CheckPort(std::string_view knob, const Address& address) {
  const absl::StatusOr<ListeningSocket> socket = ListeningSocket::Open(address, "--" + std::string(knob));
  if (socket.ok()) return Fine(knob, absl::StrFormat("%s is free", address.ToString()));
  const bool is_in_use = absl::StrContains(socket.status().message(), std::generic_category().message(EADDRINUSE));
  return is_in_use ? Taken(knob, address) : Wrong(knob, socket.status());
}

// Whether a process accepts connections at the path.
bool HasListener(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size(), sizeof(address.sun_path) - 1));
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool has_listener =
      probe >= 0 &&
      (connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 || errno != ECONNREFUSED);
  if (probe >= 0) close(probe);
  return has_listener;
}

Finding CheckPath(std::string_view knob, const Address& address) {
  const std::string& path = address.host;
  const auto wrong = [knob](const std::string& found) {
    return Finding{.check = std::string(knob),
                   .severity = Severity::kError,
                   .found = found,
                   .advice = absl::StrFormat("choose another with --%s", knob)};
  };
  struct stat file {};
  if (lstat(path.c_str(), &file) == 0) {
    if (!S_ISSOCK(file.st_mode)) return wrong(absl::StrFormat("a file that is no socket lies at %s", Quoted(path)));
    if (HasListener(path)) return Taken(knob, address);
  }
  const std::filesystem::path folder = std::filesystem::absolute(path).parent_path();
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    return wrong(absl::StrFormat("expected a folder that can be written, found %s: %s", Quoted(folder.string()),
                                 std::generic_category().message(errno)));
  }
  return Fine(knob, absl::StrFormat("%s is free", address.ToString()));
}

}  // namespace

void CheckListeners(const Config& config, Findings& findings) {
  struct Listener {
    std::string_view knob;
    const std::string& text;
    absl::StatusOr<Address> (*parse)(std::string_view text);
  };
  const auto grpc = [](std::string_view text) { return ParseAddress(text, AddressUse::kGrpcListener); };
  const auto http = [](std::string_view text) { return ParseAddress(text, AddressUse::kHttpListener); };
  for (const Listener& listener :
       {Listener{"listen", config.listen, grpc}, Listener{"metrics-listen", config.metrics_listen, http},
        Listener{"admin-listen", config.admin_listen, grpc},
        Listener{"kv-events-listen", config.kv_events_listen, ParseTcpListener},
        Listener{"kv-events-replay-listen", config.kv_events_replay_listen, ParseTcpListener}}) {
    if (listener.text.empty()) continue;
    const absl::StatusOr<Address> address = listener.parse(listener.text);
    if (!address.ok()) {
      findings.push_back(Wrong(listener.knob, address.status()));
    } else if (address->kind == Address::Kind::kUnix) {
      findings.push_back(CheckPath(listener.knob, *address));
    } else {
      findings.push_back(CheckPort(listener.knob, *address));
    }
  }
}

}  // namespace latentd
