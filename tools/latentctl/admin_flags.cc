#include "tools/latentctl/admin_flags.h"

#include <optional>
#include <string>

#include "tools/client/address_flag.h"
#include "tools/client/channel.h"
#include "tools/client/number_flags.h"
#include "tools/latentctl/admin_commands.h"
#include "tools/latentctl/top.h"

namespace latentd {

struct AdminFlags {
  AdminOptions common;
  AbortChoice abort;
  std::optional<double> drain_seconds;
  double interval_seconds = 1.0;
  uint32_t count = 0;
};

namespace {

CLI::App* AddCommand(CLI::App& app, const std::string& name, const std::string& what, AdminFlags& flags) {
  CLI::App* command = app.add_subcommand(name, what);
  AddAddressFlag(*command, "--admin", flags.common.admin, AddressUse::kGrpcClient)
      ->description("HOST:PORT, [IPV6]:PORT or unix:/PATH of the daemon's Admin service")
      ->capture_default_str();
  command->add_flag("--no-proxy", flags.common.no_proxy, kNoProxyHelp);
  command->add_flag("--json", flags.common.json, "Messages as JSON, one per line");
  return command;
}

void AddTimeout(CLI::App& command, AdminFlags& flags) {
  command.add_option("--timeout", flags.common.timeout_seconds, "Deadline in seconds; 0: none")
      ->check(SecondsUpToAYear())
      ->capture_default_str();
}

}  // namespace

std::shared_ptr<AdminFlags> AddAdminCommands(CLI::App& app, int& code) {
  auto flags = std::make_shared<AdminFlags>();
  AdminFlags& f = *flags;
  CLI::App* status = AddCommand(app, "status", "Load, model and health; exit code 0 if the daemon is serving", f);
  AddTimeout(*status, f);
  status->callback([&f, &code] { code = ShowStatus(f.common); });

  CLI::App* requests = AddCommand(app, "requests", "What is in flight, and where it stands", f);
  AddTimeout(*requests, f);
  requests->callback([&f, &code] { code = ListRequests(f.common); });

  CLI::App* abort = AddCommand(app, "abort", "End requests in flight", f);
  AddTimeout(*abort, f);
  CLI::Option* ids = abort->add_option("ids", f.abort.ids, "Ids of the requests");
  abort->add_flag("--all", f.abort.all, "Every request in flight")->excludes(ids);
  abort->callback([&f, &code] { code = Abort(f.common, f.abort); });

  CLI::App* drain = AddCommand(app, "drain", "Refuse new requests, finish those in flight, end the daemon", f);
  drain->add_option("--timeout", f.drain_seconds, "Seconds that requests in flight get; default: the daemon's")
      ->check(CLI::Range(0.0, 86400.0));
  drain->callback([&f, &code] { code = Drain(f.common, f.drain_seconds); });

  CLI::App* top = AddCommand(app, "top", "The load, live; Ctrl-C ends it", f);
  top->add_option("--interval", f.interval_seconds, "Seconds between two reports")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  top->add_option("--count", f.count, "Ends after so many reports; 0: never")->check(Whole<uint32_t>());
  top->callback(
      [&f, &code] { code = Top({.admin = f.common, .interval_seconds = f.interval_seconds, .count = f.count}); });
  return flags;
}

}  // namespace latentd
