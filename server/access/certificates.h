// The server's certificate and key, and the CA that vouches for clients: read from files, judged, and handed on as a
// whole. gRPC takes whatever it finds in the files that it watches, also half of a change; so it is given the paths of
// copies in memory, which hold the last pair that fits. Owned by main; Look is the FileWatch's, all else by any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "server/access/watched_file.h"

namespace latentd {

// What there is an expiry of; in the order of the metric's label.
enum class CertificateKind : uint8_t { kServer, kClientCa };
inline constexpr int kNumCertificateKinds = 2;

struct CertificateCounts {
  std::array<std::optional<int64_t>, kNumCertificateKinds> expiries{};  // Unix time; of several the first; none: no TLS
  uint64_t loaded = 0;
  uint64_t kept = 0;  // the files are bad, and what was there before stays
};

// Contents of files, in PEM.
struct PemFiles {
  std::string certificate;  // and its chain
  std::string key;
  std::string client_ca;  // empty: clients show no certificates
};
// INVALID_ARGUMENT where they do not parse, the key is not the certificate's, or it is encrypted.
absl::StatusOr<std::array<std::optional<int64_t>, kNumCertificateKinds>> JudgeCertificates(const PemFiles& files);

class Certificates {
 public:
  struct Options {
    std::string certificate;  // paths
    std::string key;
    std::string client_ca;  // empty: clients show no certificates
  };
  // The first look at the files: bad ones are an error, expired ones are warned of.
  static absl::StatusOr<std::unique_ptr<Certificates>> Open(const Options& options);

  // Where certificate and key lie for others of this process to read, and what vouches for clients: "" for nothing.
  const std::string& pair_path() const { return pair_.path(); }
  const std::string& client_ca_path() const { return client_ca_.path(); }

  // Whether the files changed.
  void Look();
  CertificateCounts counts() const;

 private:
  // A file in memory that readers open by its path: whole, before and after a change.
  class SharedText {
   public:
    SharedText() = default;
    SharedText(const SharedText&) = delete;
    SharedText& operator=(const SharedText&) = delete;
    ~SharedText();
    absl::Status Set(const std::string& text);
    const std::string& path() const { return path_; }

   private:
    int descriptor_ = -1;
    std::string path_;
  };

  explicit Certificates(const Options& options);
  absl::Status Load();

  WatchedFile certificate_file_, key_file_, client_ca_file_;
  SharedText pair_, client_ca_;
  mutable std::mutex mutex_;
  CertificateCounts counts_;  // guarded by mutex_
};

}  // namespace latentd
