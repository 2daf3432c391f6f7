// The log lines of gRPC and protobuf, as lines of the daemon's log: at level debug, so that a start that goes wrong
// says one line. gRPC's errors that no client can cause stay errors. Until RouteLibraryLogs, the libraries print for
// themselves.
#pragma once

namespace latentd {

// After StartLogging, once.
void RouteLibraryLogs();

}  // namespace latentd
