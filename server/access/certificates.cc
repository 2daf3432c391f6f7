#include "server/access/certificates.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/file.h"

namespace latentd {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

Bio Reader(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

absl::Status Bad(std::string_view knob, std::string_view message) {
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrFormat("%s: %s", knob, message));
}

int64_t ExpiryOf(const X509& certificate) {
  std::tm time{};
  CHECK_EQ(ASN1_TIME_to_tm(X509_get0_notAfter(&certificate), &time), 1);
  return timegm(&time);
}

// All certificates of a text, one after another.
struct Chain {
  Certificate first;
  int64_t expiry = INT64_MAX;  // of the one that expires first
};

absl::StatusOr<Chain> ReadChain(const std::string& text, std::string_view knob) {
  Chain chain;
  const Bio reader = Reader(text);
  while (Certificate next{PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr)}) {
    chain.expiry = std::min(chain.expiry, ExpiryOf(*next));
    if (chain.first == nullptr) chain.first = std::move(next);
  }
  const bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (chain.first == nullptr || !is_end) return Bad(knob, "expected certificates in PEM, found other bytes");
  ERR_clear_error();
  return chain;
}

// Never asks for a password.
int NoPassword(char*, int, int, void*) { return 0; }

void WarnOfExpiry(const CertificateCounts& counts) {
  static constexpr const char* kNames[] = {"the server's certificate", "a certificate of the clients' CA"};
  for (size_t i = 0; i < counts.expiries.size(); ++i) {
    if (counts.expiries[i] && *counts.expiries[i] <= std::time(nullptr)) {
      spdlog::warn("credentials: {} has expired: clients and this server refuse it", kNames[i]);
    }
  }
}

}  // namespace

absl::StatusOr<std::array<std::optional<int64_t>, kNumCertificateKinds>> JudgeCertificates(const PemFiles& files) {
  std::array<std::optional<int64_t>, kNumCertificateKinds> expiries;
  const absl::StatusOr<Chain> server = ReadChain(files.certificate, "tls-cert");
  if (!server.ok()) return server.status();
  const Key key(PEM_read_bio_PrivateKey(Reader(files.key).get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) return Bad("tls-key", "expected a private key in PEM, without a password, found other bytes");
  if (X509_check_private_key(server->first.get(), key.get()) != 1) {
    return Bad("tls-key", "expected the key of the certificate in tls-cert, found another one");
  }
  expiries[static_cast<size_t>(CertificateKind::kServer)] = server->expiry;
  if (files.client_ca.empty()) return expiries;
  const absl::StatusOr<Chain> clients = ReadChain(files.client_ca, "tls-client-ca");
  if (!clients.ok()) return clients.status();
  expiries[static_cast<size_t>(CertificateKind::kClientCa)] = clients->expiry;
  return expiries;
}

Certificates::SharedText::~SharedText() {
  if (descriptor_ >= 0) close(descriptor_);
}

// The number stays and means another file from one moment to the next.
absl::Status Certificates::SharedText::Set(const std::string& text) {
  const int fresh = memfd_create("latentd-tls", MFD_CLOEXEC);
  if (fresh < 0) return FileError("TLS", "a file in memory");
  if (write(fresh, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    const absl::Status status = FileError("TLS", "room for a file in memory");
    close(fresh);
    return status;
  }
  if (descriptor_ < 0) {
    descriptor_ = fresh;
    path_ = absl::StrCat("/proc/self/fd/", fresh);
    return absl::OkStatus();
  }
  CHECK_EQ(dup3(fresh, descriptor_, O_CLOEXEC), descriptor_);
  close(fresh);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Certificates>> Certificates::Open(const Options& options) {
  std::unique_ptr<Certificates> certificates(new Certificates(options));
  for (WatchedFile* file :
       {&certificates->certificate_file_, &certificates->key_file_, &certificates->client_ca_file_}) {
    file->HasChanged();
  }
  if (absl::Status status = certificates->Load(); !status.ok()) return status;
  return certificates;
}

Certificates::Certificates(const Options& options)
    : certificate_file_(options.certificate), key_file_(options.key), client_ca_file_(options.client_ca) {}

absl::Status Certificates::Load() {
  PemFiles files;
  struct Part {
    const char* knob;
    const WatchedFile& file;
    std::string& text;
  };
  for (const Part& part :
       {Part{"tls-cert", certificate_file_, files.certificate}, Part{"tls-key", key_file_, files.key},
        Part{"tls-client-ca", client_ca_file_, files.client_ca}}) {
    if (part.file.path().empty()) continue;
    absl::StatusOr<std::string> text = ReadFile(part.file.path(), kMaxFileBytes);
    if (!text.ok()) return absl::InvalidArgumentError(absl::StrCat(part.knob, ": ", text.status().message()));
    part.text = *std::move(text);
  }
  const auto expiries = JudgeCertificates(files);
  if (!expiries.ok()) return expiries.status();
  if (absl::Status status = pair_.Set(files.certificate + "\n" + files.key); !status.ok()) return status;
  if (!files.client_ca.empty()) {
    if (absl::Status status = client_ca_.Set(files.client_ca); !status.ok()) return status;
  }
  std::lock_guard lock(mutex_);
  counts_.expiries = *expiries;
  ++counts_.loaded;
  WarnOfExpiry(counts_);
  return absl::OkStatus();
}

void Certificates::Look() {
  bool has_changed = false;
  for (WatchedFile* file : {&certificate_file_, &key_file_, &client_ca_file_}) {
    if (!file->path().empty() && file->HasChanged()) has_changed = true;
  }
  if (!has_changed) return;
  const absl::Status status = Load();
  if (status.ok()) return spdlog::info("credentials: the certificates were read again");
  spdlog::warn("credentials: {}; what was read before stays in force", std::string(status.message()));
  std::lock_guard lock(mutex_);
  ++counts_.kept;
}

CertificateCounts Certificates::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace latentd
