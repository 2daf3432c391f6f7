#include "server/traces/request_span.h"

namespace latentd {
namespace {

constexpr size_t kFlags = 53;  // behind version, trace id and parent id (W3C Trace Context, 3.2)

int HexDigit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

}  // namespace

bool IsSampled(const std::string& traceparent) {
  return traceparent.empty() || (HexDigit(traceparent[kFlags + 1]) & 1) != 0;
}

}  // namespace latentd
