#include "tools/latentctl/top.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <deque>
#include <iostream>
#include <string>
#include <vector>

#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/client/client.h"
#include "tools/client/interrupt.h"
#include "tools/latentctl/answer_printer.h"
#include "tools/latentctl/load_view.h"

namespace latentd {
namespace {

constexpr size_t kHistory = 60;     // points of the sparkline
constexpr int kIdColumns = 9;       // so that all but the table's last column fit into 80
constexpr double kListSeconds = 2;  // longer than a step takes; a daemon that is stuck shows its load all the same

struct Size {
  int rows = 24;
  int columns = 80;
};

Size TerminalSize() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) return {};
  return {.rows = size.ws_row, .columns = size.ws_col};
}

void WriteOut(const std::string& text) { std::cout << text << std::flush; }

// The terminal's other screen, for as long as it lives.
class AlternateScreen {
 public:
  AlternateScreen() { WriteOut("\x1b[?1049h\x1b[?25l"); }
  ~AlternateScreen() { WriteOut("\x1b[?25h\x1b[?1049l"); }
  AlternateScreen(const AlternateScreen&) = delete;
  AlternateScreen& operator=(const AlternateScreen&) = delete;

  // Over what is there, in one piece, so that nothing flickers. The size is asked each time: windows are resized.
  void Draw(std::vector<std::string> lines) {
    const Size size = TerminalSize();
    if (static_cast<int>(lines.size()) > size.rows) lines.resize(static_cast<size_t>(size.rows));
    for (std::string& line : lines) line = CutTo(line, size.columns) + "\x1b[K";
    WriteOut("\x1b[H" + absl::StrJoin(lines, "\r\n") + "\x1b[J");
  }
};

class View {
 public:
  explicit View(const TopOptions& options) : options_(options) {}

  std::vector<std::string> Lines(const v1::Load& load, const v1::ListRequestsResult& list) {
    rates_.push_back(load.generated_tokens_per_second());
    if (rates_.size() > kHistory) rates_.pop_front();
    std::vector<std::string> lines = {Title(load), ""};
    for (std::string& line : LoadLines(load)) lines.push_back(std::move(line));
    lines.push_back("generated/s  " + Sparkline({rates_.begin(), rates_.end()}));
    lines.emplace_back();
    for (std::string& line : RequestLines(list, kIdColumns)) lines.push_back(std::move(line));
    return lines;
  }

 private:
  std::string Title(const v1::Load& load) const {
    const std::time_t now = load.time().seconds();
    std::tm local{};
    localtime_r(&now, &local);
    return absl::StrFormat("latentd %s  %02d:%02d:%02d  every %g s%s", options_.admin.admin, local.tm_hour,
                           local.tm_min, local.tm_sec, options_.interval_seconds,
                           load.draining()      ? "  DRAINING"
                           : load.has_loading() ? "  LOADING " + LoadingText(load.loading())
                                                : "");
  }

  const TopOptions& options_;
  std::deque<double> rates_;
};

v1::ListRequestsResult ListNow(const AdminConnection& connection) {
  grpc::ClientContext context;
  SetTimeout(kListSeconds, context);
  v1::ListRequestsResult list;
  connection.admin->ListRequests(&context, {}, &list);  // an empty table where it came too late
  return list;
}

v1::WatchLoadRequest RequestOf(const TopOptions& options) {
  v1::WatchLoadRequest request;
  const auto nanos = static_cast<int64_t>(options.interval_seconds * 1e9);
  request.mutable_interval()->set_seconds(nanos / 1'000'000'000);
  request.mutable_interval()->set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return request;
}

// Gives each load to `show` until the stream ends or there were enough.
template <class Show>
grpc::Status Watch(const TopOptions& options, const AdminConnection& connection, grpc::ClientContext& context,
                   const Show& show) {
  const auto reader = connection.admin->WatchLoad(&context, RequestOf(options));
  v1::Load load;
  for (uint32_t shown = 0; reader->Read(&load);) {
    show(load);
    if (++shown != options.count && std::cout.good()) continue;  // who cannot write need not go on
    context.TryCancel();
    reader->Finish();
    return grpc::Status::OK;
  }
  return reader->Finish();
}

int WatchOnTerminal(const TopOptions& options) {
  Interrupt interrupt;
  grpc::Status status;
  {
    const AdminConnection connection(options.admin);
    grpc::ClientContext context;
    const Interrupt::Guard guard(interrupt, [&context] { context.TryCancel(); });
    AlternateScreen screen;
    View view(options);
    status = Watch(options, connection, context,
                   [&](const v1::Load& load) { screen.Draw(view.Lines(load, ListNow(connection))); });
  }
  if (status.error_code() == grpc::StatusCode::CANCELLED) return 0;  // by Ctrl-C
  if (status.ok() && options.count == 0) std::cerr << "latentctl: the daemon has ended\n";
  return Report(status);
}

int WatchPlainly(const TopOptions& options) {
  const AdminConnection connection(options.admin);
  grpc::ClientContext context;
  View view(options);
  return Report(Watch(options, connection, context, [&](const v1::Load& load) {
    if (options.admin.json) {
      std::cout << ToJson(load) << std::endl;
    } else {
      std::cout << absl::StrJoin(view.Lines(load, ListNow(connection)), "\n") << "\n" << std::endl;
    }
  }));
}

}  // namespace

int Top(const TopOptions& options) {
  const bool is_terminal = isatty(STDOUT_FILENO) == 1;
  return is_terminal && !options.admin.json ? WatchOnTerminal(options) : WatchPlainly(options);
}

}  // namespace latentd
