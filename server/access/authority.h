// Who calls, and what they may do. Credentials are bearer tokens from a file, and certificates of clients that a CA
// vouches for; where neither is configured everybody may do everything. A token decides where one is shown; else the
// first name of the certificate that the file of identities has; else, where there are no tokens, the CA's word alone:
// the tenant "default" may generate.
//
// A unix socket and the metrics port ask for tokens, where there are some, and never for certificates: without tokens
// the permissions of the socket's file decide, and everybody may scrape.
//
// A file that changed is taken in at the next look. One that is bad keeps what was there before, is counted, and warned
// of once. Owned by main; any thread, but Look, which is the FileWatch's.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "server/access/grants_file.h"
#include "server/access/right.h"
#include "server/access/watched_file.h"

namespace latentd {

// What a caller shows, in views that live as long as the question.
struct Shown {
  std::vector<std::string_view> authorization = {};  // the values of the header of that name
  std::vector<std::string> certificate_names = {};   // of a certificate that was verified
  bool has_certificate = false;
  bool is_local = false;  // through a unix socket
};

enum class Verdict : uint8_t {
  kGranted,
  kNoCredential,
  kMalformed,  // not one "Bearer TOKEN"
  kUnknownToken,
  kNoRight,
};

struct Judgement {
  Verdict verdict = Verdict::kGranted;
  Grant grant = {};  // of a caller who is known
};

// In the order of the metrics' labels.
inline constexpr int kNumAccessRefusals = 2;  // without a known credential; without the right
enum class GrantsFile : uint8_t { kTokens, kIdentities };
inline constexpr int kNumGrantsFiles = 2;

struct AccessCounts {
  std::array<std::array<uint64_t, kNumAccessRefusals>, kNumAccessPoints> refused{};
  std::array<uint64_t, kNumGrantsFiles> loaded{};
  std::array<uint64_t, kNumGrantsFiles> kept{};  // the file is bad, and what was there before stays
};

class Authority {
 public:
  struct Options {
    std::string tokens = {};      // path; empty: none
    std::string identities = {};  // path; empty: none
    bool verifies_clients = false;
  };
  // The first look at the files: a bad one is an error.
  static absl::StatusOr<std::unique_ptr<Authority>> Open(const Options& options);

  bool is_open_to_all() const { return tokens_ == nullptr && !verifies_clients_; }
  // Whether the caller has any of `rights`. Refusals are counted at the listener.
  Judgement Judge(const Shown& shown, Rights rights, AccessPoint point);
  // Whether the files changed.
  void Look();

  AccessCounts counts() const;

 private:
  struct Grants {
    std::vector<TokenGrant> tokens;
    std::map<std::string, Grant> identities;
  };
  // A file and how it is taken in.
  struct Source {
    GrantsFile kind;
    const char* knob;
    WatchedFile file;
    std::function<absl::Status(std::string_view text, const std::string& path, Grants& grants)> parse;
  };

  Authority(const Options& options, std::unique_ptr<Source> tokens, std::unique_ptr<Source> identities);
  absl::Status Load(Source& source);
  Judgement Decide(const Shown& shown, Rights rights, const Grants& grants) const;
  std::shared_ptr<const Grants> grants() const;

  const bool verifies_clients_;
  std::array<std::array<std::atomic<uint64_t>, kNumAccessRefusals>, kNumAccessPoints> refused_{};

  const std::unique_ptr<Source> tokens_, identities_;

  mutable std::mutex mutex_;  // guards all below
  std::shared_ptr<const Grants> grants_;
  std::array<uint64_t, kNumGrantsFiles> loaded_{}, kept_{};
};

// Where the calls of a listener enter. Null: open to all.
struct Entrance {
  Authority* authority = nullptr;
  AccessPoint point = AccessPoint::kApi;
};

}  // namespace latentd
