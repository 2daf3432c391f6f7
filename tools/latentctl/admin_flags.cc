#include "tools/latentctl/admin_flags.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "tools/client/address_flag.h"
#include "tools/client/channel.h"
#include "tools/latentctl/admin_commands.h"
#include "tools/latentctl/profile.h"
#include "tools/latentctl/recorder.h"
#include "tools/latentctl/top.h"

namespace latentd {

struct AdminFlags {
  AdminOptions common;
  AbortChoice abort;
  std::optional<double> drain_seconds;
  double interval_seconds = 1.0;
  uint32_t count = 0;
  std::string recorder_file, recorder_output;
  std::optional<uint64_t> recorder_request;
  uint32_t profile_steps = 10;
  std::string profile_output;
};

namespace {

Command AddCommand(Command program, const std::string& name, const std::string& what, AdminFlags& flags) {
  Command command = program.AddCommand(name, what);
  Flag address = AddressFlag("--admin", flags.common.admin, AddressUse::kGrpcClient);
  address.help = "HOST:PORT, [IPV6]:PORT or unix:/PATH of the daemon's Admin service";
  address.shows_default = true;
  command.Add(std::move(address));
  AddDialingFlags(command, flags.common.dialing);
  command.Add({.name = "--json", .target = &flags.common.json, .help = "Messages as JSON, one per line"});
  return command;
}

Flag Timeout(AdminFlags& flags) {
  return {.name = "--timeout",
          .target = &flags.common.timeout_seconds,
          .help = "Deadline in seconds; 0: none",
          .rule = SecondsUpToAYear(),
          .shows_default = true};
}

void AddLooks(Command program, AdminFlags& f, int& code) {
  Command status = AddCommand(program, "status", "Load, model and health; exit code 0 if the daemon is serving", f);
  status.Add(Timeout(f));
  status.OnParsed([&f, &code] { code = ShowStatus(f.common); });

  Command requests = AddCommand(program, "requests", "What is in flight, and where it stands", f);
  requests.Add(Timeout(f));
  requests.OnParsed([&f, &code] { code = ListRequests(f.common); });
}

void AddEnds(Command program, AdminFlags& f, int& code) {
  Command abort = AddCommand(program, "abort", "End requests in flight", f);
  abort.Add(Timeout(f));
  abort.Add({.name = "ids", .target = &f.abort.ids, .help = "Ids of the requests"});
  abort.Add({.name = "--all", .target = &f.abort.all, .help = "Every request in flight", .excludes = "ids"});
  abort.OnParsed([&f, &code] { code = Abort(f.common, f.abort); });

  Command flush = AddCommand(program, "flush-cache", "Forget the cached prefixes that no request holds", f);
  flush.Add(Timeout(f));
  flush.OnParsed([&f, &code] { code = FlushCache(f.common); });

  Command drain = AddCommand(program, "drain", "Refuse new requests, finish those in flight, end the daemon", f);
  drain.Add({.name = "--timeout",
             .target = &f.drain_seconds,
             .help = "Seconds that requests in flight get; default: the daemon's",
             .rule = InRange(0.0, 86400.0)});
  drain.OnParsed([&f, &code] { code = Drain(f.common, f.drain_seconds); });
}

void AddTop(Command program, AdminFlags& f, int& code) {
  Command top = AddCommand(program, "top", "The load, live; Ctrl-C ends it", f);
  top.Add({.name = "--interval",
           .target = &f.interval_seconds,
           .help = "Seconds between two reports",
           .rule = InRange(0.1, 3600.0),
           .shows_default = true});
  top.Add({.name = "--count",
           .target = &f.count,
           .help = "Ends after so many reports; 0: never",
           .rule = Whole<uint32_t>()});
  top.OnParsed(
      [&f, &code] { code = Top({.admin = f.common, .interval_seconds = f.interval_seconds, .count = f.count}); });
}

void AddRecorder(Command program, AdminFlags& f, int& code) {
  Command recorder = AddCommand(program, "recorder", "The scheduler's last decisions, as a timeline", f);
  recorder.Add(Timeout(f));
  recorder.Add({.name = "file",
                .target = &f.recorder_file,
                .help = "A dump that the daemon or --output wrote; default: the daemon is asked"});
  recorder.Add({.name = "--output",
                .target = &f.recorder_output,
                .help = "Writes the dump to this file and prints only its summary"});
  recorder.Add({.name = "--request",
                .target = &f.recorder_request,
                .help = "Only this request: the number at the end of the id that the daemon gave it",
                .rule = Whole<uint64_t>()});
  recorder.OnParsed([&f, &code] {
    code = ShowRecorder(
        {.admin = f.common, .file = f.recorder_file, .output = f.recorder_output, .request = f.recorder_request});
  });
}

void AddProfile(Command program, AdminFlags& f, int& code) {
  Command profile = AddCommand(program, "profile", "The next steps by op, as a Chrome trace", f);
  Flag timeout = Timeout(f);
  timeout.help = "Seconds to wait for the steps, which an idle daemon does not compute; 0: any time";
  profile.Add(std::move(timeout));
  profile.Add({.name = "--steps",
               .target = &f.profile_steps,
               .help = "How many, 1 to 100",
               .rule = Whole<uint32_t>(),
               .shows_default = true});
  profile.Add({.name = "--output",
               .target = &f.profile_output,
               .help = "Writes the trace to this file; default: standard output"});
  profile.OnParsed(
      [&f, &code] { code = SaveProfile({.admin = f.common, .steps = f.profile_steps, .output = f.profile_output}); });
}

}  // namespace

std::shared_ptr<AdminFlags> AddAdminCommands(Command program, int& code) {
  auto flags = std::make_shared<AdminFlags>();
  AddLooks(program, *flags, code);
  AddEnds(program, *flags, code);
  AddTop(program, *flags, code);
  AddRecorder(program, *flags, code);
  AddProfile(program, *flags, code);
  return flags;
}

}  // namespace latentd
