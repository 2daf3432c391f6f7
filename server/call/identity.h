// The first question of admission: who calls, and may they. It is answered from what the headers and the connection
// show, before any of the message is read; one order for every front end. Any thread.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "server/access/authority.h"

namespace latentd {

struct Identity {
  bool is_known = false;  // false: no credentials are configured, and the client's word for its tenant counts
  std::string name = {};  // of the credential, for the log
  std::string tenant = {};
};

// UNAUTHENTICATED or PERMISSION_DENIED, which say nothing of what credentials there are.
absl::StatusOr<Identity> Identify(const Shown& shown, std::string_view method, const Entrance& entrance);
// The same for what is no method of ours, such as reflection: any right will do.
absl::StatusOr<Identity> IdentifyAny(const Shown& shown, const Entrance& entrance);

}  // namespace latentd
