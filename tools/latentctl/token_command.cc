#include "tools/latentctl/token_command.h"

#include <iostream>
#include <string>

#include "server/access/grants_file.h"
#include "server/access/digest.h"
#include "server/access/token.h"

namespace latentd {

struct TokenFlags {
  std::string name;
  std::string tenant = "default";
  std::string rights = "generate";
};

namespace {

int MakeNewToken(const TokenFlags& flags) {
  const absl::StatusOr<Rights> rights = ParseRights(flags.rights);
  const std::string token = MakeToken();
  const std::string line = PrintTokenLine(
      {.digest = Sha256(token),
       .grant = {.name = flags.name, .tenant = flags.tenant, .rights = rights.ok() ? *rights : Rights{0}}});
  absl::Status status = rights.status();
  if (status.ok()) status = ParseTokens(line, "the line").status();
  if (!status.ok()) {
    std::cerr << "latentctl: " << std::string(status.message()) << "\n";
    return 1;
  }
  std::cout << token << "\n" << line << "\n";
  return 0;
}

}  // namespace

std::shared_ptr<TokenFlags> AddTokenCommand(Command program, int& code) {
  auto flags = std::make_shared<TokenFlags>();
  Command token = program.AddCommand("token", "Bearer tokens");
  Command make =
      token.AddCommand("new", "Make a token: prints it, once, and the line for the file that latentd --tokens names");
  make.Add({.name = "name", .target = &flags->name, .help = "What the log calls it", .is_required = true});
  make.Add({.name = "--tenant",
            .target = &flags->tenant,
            .help = "For whom its requests count",
            .rule = PrintableUpTo(64),
            .shows_default = true});
  make.Add({.name = "--rights",
            .target = &flags->rights,
            .help = "With commas: generate, admin, metrics",
            .shows_default = true});
  make.OnParsed([flags, &code] { code = MakeNewToken(*flags); });
  return flags;
}

}  // namespace latentd
