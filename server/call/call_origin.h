// Who called, and within which trace: what a request's log line says about its client. Pure functions.
#pragma once

#include <string>
#include <string_view>

namespace latentd {

struct CallOrigin {
  std::string peer;             // "ipv4:127.0.0.1:50312", "ipv6:[::1]:50312", "unix:"
  std::string traceparent;      // W3C trace context, verbatim; empty where there is none that is valid
  std::string credential = {};  // the name of the token or of the certificate; empty where none was asked for
};

// version "-" trace id "-" parent id "-" flags, in lower-case hexadecimal; versions after 00 may go on behind that.
bool IsValidTraceparent(std::string_view value);

}  // namespace latentd
