// The log lines of gRPC and protobuf, as lines of the daemon's log.
#pragma once

namespace latentd {

// After StartLogging, once.
void RouteLibraryLogs();

}  // namespace latentd
