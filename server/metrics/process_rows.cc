// Metrics of what is around the engine: streams, connections, the process and its life.
#include <array>
#include <optional>

#include "server/metrics/metric_rows.h"

namespace latentd {
namespace {

constexpr auto kCounter = MetricKind::kCounter;
constexpr auto kGauge = MetricKind::kGauge;

void AddStreams(MetricRows& rows) {
  AddRow({kGauge, "latentd_stream_backlog_bytes", "bytes"}, "Output that waits to be written, of all streams",
         One(&MetricsData::stream_backlog_bytes), rows);
  AddRow({kGauge, "latentd_buffered_bytes", "bytes"},
         "Messages that are being received, with the room that they may need, or wait to be worked on; answers "
         "in one message that their clients have not read yet",
         By("kind", {"requests", "answers"},
            [](const Scrape& scrape) {
              return std::array{scrape.data.request_bytes, scrape.data.answer_bytes};
            }),
         rows);
  AddRow({kGauge, "latentd_buffered_bytes_capacity", "bytes"}, "What latentd_buffered_bytes may come to",
         By("kind", {"requests", "answers"},
            [](const Scrape& scrape) {
              return std::array{scrape.data.max_buffered_bytes, scrape.data.max_buffered_bytes};
            }),
         rows);
  AddRow({kCounter, "latentd_buffer_refusals_total", "RPCs"},
         "RPCs refused for want of room, or ended to make room: INTAKE_FULL and SLOW_SENDER, ANSWERS_FULL",
         By("kind", {"requests", "answers"},
            [](const Scrape& scrape) {
              return std::array{
                  FinishedFor(Cause::kIntakeFull, scrape.data) + FinishedFor(Cause::kSlowSender, scrape.data),
                  FinishedFor(Cause::kAnswersFull, scrape.data)};
            }),
         rows);
  AddRow({kCounter, "latentd_slow_consumer_total", "sequences"},
         "Requests paused because their reader was slow, resumed when it caught up, ended with SLOW_CONSUMER",
         By("action", {"paused", "resumed", "ended"},
            [](const Scrape& scrape) {
              return std::array{scrape.data.sequences_paused, scrape.data.sequences_resumed,
                                FinishedFor(Cause::kSlowConsumer, scrape.data)};
            }),
         rows);
}

void AddConnections(MetricRows& rows) {
  AddRow({kGauge, "latentd_connections", "connections"}, "Open connections; an end is seen up to half a second late",
         By("listener", kListenerNames, [](const Scrape& scrape) { return scrape.connections.open; }), rows);
  AddRow({kCounter, "latentd_connections_refused_total", "connections"},
         "Connections closed at once: beyond max-connections, beyond max-connections-per-peer, or for lack of "
         "descriptors or memory",
         By("reason", kConnectionRefusalNames, [](const Scrape& scrape) { return scrape.connections.refused; }), rows);
  AddRow({kCounter, "latentd_connections_cut_off_total", "connections"},
         "Connections closed because their client took without asking; docs/hostile-clients.md has the bounds",
         By("reason", kOffenceNames, [](const Scrape& scrape) { return scrape.connections.cut; }), rows);
  AddRow({kGauge, "latentd_accepting", ""},
         "0 while connections can't be accepted for lack of descriptors or memory, else 1; readiness follows it",
         One([](const Scrape& scrape) { return scrape.view.AcceptsAll() ? 1 : 0; }), rows);
}

MetricSource Expiries() {
  const std::vector<std::string> names = {"server", "client_ca"};
  return {.labels = {{"certificate", names}}, .read = [names](const Scrape& scrape) {
            std::vector<Series> all;
            for (size_t i = 0; i < names.size(); ++i) {
              const std::optional<int64_t>& expiry = scrape.access.certificates.expiries[i];
              if (expiry) all.push_back(MakeSeries({{"certificate", names[i]}}, *expiry));
            }
            return all;
          }};
}

// Both refusals have a series for each listener.
void AddAccess(MetricRows& rows) {
  const auto refused = [](size_t kind) {
    return By("listener", kAccessPointNames, [kind](const Scrape& scrape) {
      std::array<uint64_t, kNumAccessPoints> counts{};
      for (size_t point = 0; point < counts.size(); ++point) counts[point] = scrape.access.counts.refused[point][kind];
      return counts;
    });
  };
  AddRow({kCounter, "latentd_access_unauthenticated_total", "calls"},
         "RPCs and scrapes refused because they showed no credential that is known", refused(0), rows);
  AddRow({kCounter, "latentd_access_denied_total", "calls"},
         "RPCs and scrapes refused because their credential has not the right", refused(1), rows);
  AddRow({kCounter, "latentd_credentials_loads_total", "times"},
         "Times that files of credentials were read and taken, at start and as they changed",
         By("file", {"tokens", "identities", "certificates"},
            [](const Scrape& scrape) {
              const auto& [tokens, identities] = scrape.access.counts.loaded;
              return std::array{tokens, identities, scrape.access.certificates.loaded};
            }),
         rows);
  AddRow({kCounter, "latentd_credentials_load_failures_total", "times"},
         "Times that such files changed and were bad: what was read before stayed in force",
         By("file", {"tokens", "identities", "certificates"},
            [](const Scrape& scrape) {
              const auto& [tokens, identities] = scrape.access.counts.kept;
              return std::array{tokens, identities, scrape.access.certificates.kept};
            }),
         rows);
  AddRow({kGauge, "latentd_certificate_expiry_timestamp_seconds", "seconds"},
         "Unix time at which the first certificate of a file expires; no series for a file that is not configured",
         Expiries(), rows);
}

void AddTraces(MetricRows& rows) {
  AddRow(
      {kCounter, "latentd_trace_spans_total", "spans"},
      "Spans of requests, with otlp-endpoint: taken by the collector, dropped as the queue was full, rejected by the "
      "collector, given up as it could not be reached",
      By("fate", kSpanFateNames, &MetricsData::spans), rows);
}

MetricSource BuildInfo() {
  return {
      .labels = {{"version", {}}, {"compiler", {}}, {"architecture", {}}}, .read = [](const Scrape&) {
        return std::vector<Series>{MakeSeries(
            {{"version", LATENTD_VERSION}, {"compiler", LATENTD_COMPILER}, {"architecture", LATENTD_ARCHITECTURE}}, 1)};
      }};
}

MetricSource ModelInfo() {
  return {.labels = {{"name", {}}, {"architecture", {}}, {"quantization", {}}, {"revision", {}}},
          .read = [](const Scrape& scrape) {
            const v1::Model& model = scrape.facts.model;
            return std::vector<Series>{MakeSeries({{"name", model.name()},
                                                   {"architecture", model.architecture()},
                                                   {"quantization", model.quantization()},
                                                   {"revision", model.revision()}},
                                                  1)};
          }};
}

MetricSource ConfigInfo() {
  return {.labels = {{"…", {}}},
          .read = [](const Scrape& scrape) { return std::vector<Series>{MakeSeries(scrape.facts.config, 1)}; }};
}

void AddLifecycle(MetricRows& rows) {
  AddRow({kGauge, "latentd_build_info", ""}, "What runs; always 1", BuildInfo(), rows);
  AddRow({kGauge, "latentd_model_info", ""}, "The model that is served; always 1, without labels while it is loading",
         ModelInfo(), rows);
  AddRow({kGauge, "latentd_config_info", ""},
         "The configuration, a label for each knob; always 1, without labels while the model is loading", ConfigInfo(),
         rows);
  AddRow({kGauge, "latentd_model_load_bytes", "bytes"},
         "Tensors of the checkpoint: read, checked and in place, or still to come",
         By("state", {"loaded", "pending"},
            [](const Scrape& scrape) {
              const MetricsData& data = scrape.data;
              return std::array{data.model_bytes_loaded, data.model_bytes_total - data.model_bytes_loaded};
            }),
         rows);
  AddRow({kGauge, "latentd_startup_seconds", "seconds"}, "How long each stage of the start took",
         By("stage", kStartupStageNames, &MetricsData::startup_seconds), rows);
  AddRow({kGauge, "latentd_state", ""}, "1 for the state the process is in, 0 for all others",
         By("state", kServerStateNames,
            [](const Scrape& scrape) {
              std::array<int, kNumServerStates> states{};
              states[static_cast<size_t>(scrape.data.state)] = 1;
              return states;
            }),
         rows);
}

void AddProcess(MetricRows& rows) {
  const auto of = [](double ProcessFacts::*fact) {
    return One([fact](const Scrape& scrape) { return scrape.process.*fact; });
  };
  AddRow({kCounter, "process_cpu_seconds_total", "seconds"}, "User and system time of the process",
         of(&ProcessFacts::cpu_seconds), rows);
  AddRow({kGauge, "process_resident_memory_bytes", "bytes"}, "Resident memory", of(&ProcessFacts::resident_bytes),
         rows);
  AddRow({kGauge, "process_virtual_memory_bytes", "bytes"}, "Virtual memory", of(&ProcessFacts::virtual_bytes), rows);
  AddRow({kGauge, "process_open_fds", "files"}, "Open file descriptors", of(&ProcessFacts::num_open_files), rows);
  AddRow({kGauge, "process_max_fds", "files"}, "Limit of open file descriptors", of(&ProcessFacts::max_open_files),
         rows);
  AddRow({kGauge, "process_threads", "threads"}, "Threads of the process", of(&ProcessFacts::num_threads), rows);
  AddRow({kGauge, "process_start_time_seconds", "seconds"}, "Unix time at which the process started",
         of(&ProcessFacts::start_time_seconds), rows);
}

}  // namespace

void AddProcessRows(MetricRows& rows) {
  AddStreams(rows);
  AddConnections(rows);
  AddAccess(rows);
  AddTraces(rows);
  AddLifecycle(rows);
  AddProcess(rows);
}

}  // namespace latentd
