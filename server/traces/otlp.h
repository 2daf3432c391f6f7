// Spans as OpenTelemetry's messages: one server span for each request, with the attributes of the conventions for
// generative AI. Pure functions but for the ids, which are drawn.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"
#include "server/traces/request_span.h"

namespace latentd {

namespace otlp = opentelemetry::proto::collector::trace::v1;

// Who sends.
struct TraceResource {
  std::string model;
  std::string instance;  // tells this process from others
};

using DrawBits = std::function<uint64_t()>;

otlp::ExportTraceServiceRequest ExportRequestOf(const std::vector<RequestSpan>& spans, const TraceResource& resource,
                                                const DrawBits& draw);

}  // namespace latentd
