#include "server/net/tls_frames.h"

#include <cstdint>

#include <dlfcn.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "base/check.h"
#include "server/net/connection_table.h"

namespace latentd {
namespace {

constexpr int kNone = -1;
thread_local int handed_over = kNone;

// The library's own function behind one of ours.
template <class Function>
Function* LibrarysOwn(const char* name) {
  auto* const found = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
  CHECK(found != nullptr);
  return found;
}

// Where a TLS object keeps its connection's descriptor, plus 1: 0 is none.
int DataIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

void Bind(SSL* tls) {
  if (tls == nullptr || handed_over == kNone) return;
  SSL_set_ex_data(tls, DataIndex(), reinterpret_cast<void*>(static_cast<intptr_t>(handed_over) + 1));
}

int DescriptorOf(const SSL* tls) {
  return static_cast<int>(reinterpret_cast<intptr_t>(SSL_get_ex_data(tls, DataIndex())) - 1);
}

// Bytes as the table takes them.
class Piece {
 public:
  Piece(const void* bytes, int num_bytes)
      : part_{.iov_base = const_cast<void*>(bytes), .iov_len = static_cast<size_t>(num_bytes)} {
    message_.msg_iov = &part_;
    message_.msg_iovlen = 1;
  }
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;
  const msghdr& message() const { return message_; }

 private:
  iovec part_;
  msghdr message_{};
};

}  // namespace

TlsHandOver::TlsHandOver(int descriptor) { handed_over = descriptor; }
TlsHandOver::~TlsHandOver() { handed_over = kNone; }

}  // namespace latentd

// In place of OpenSSL's, for the whole process. The loader gives gRPC's library the program's own.
extern "C" SSL* SSL_new(SSL_CTX* context) {
  static auto* const make = latentd::LibrarysOwn<SSL*(SSL_CTX*)>("SSL_new");
  SSL* const tls = make(context);
  latentd::Bind(tls);
  return tls;
}

extern "C" int SSL_read(SSL* tls, void* buffer, int num_bytes) {
  static auto* const read = latentd::LibrarysOwn<int(SSL*, void*, int)>("SSL_read");
  const int received = read(tls, buffer, num_bytes);
  const int descriptor = received > 0 ? latentd::DescriptorOf(tls) : latentd::kNone;
  if (descriptor == latentd::kNone) return received;
  const latentd::Piece piece(buffer, received);
  const bool may_pass = latentd::ConnectionTable::OfProcess().Inspect(
      descriptor, piece.message(), static_cast<size_t>(received), latentd::Framing::kTls);
  return may_pass ? received : -1;  // the socket is shut down
}

extern "C" int SSL_write(SSL* tls, const void* bytes, int num_bytes) {
  static auto* const write = latentd::LibrarysOwn<int(SSL*, const void*, int)>("SSL_write");
  const int sent = write(tls, bytes, num_bytes);
  const int descriptor = sent > 0 ? latentd::DescriptorOf(tls) : latentd::kNone;
  if (descriptor == latentd::kNone) return sent;
  const latentd::Piece piece(bytes, sent);
  latentd::ConnectionTable::OfProcess().CountSent(descriptor, piece.message(), static_cast<size_t>(sent),
                                                  latentd::Framing::kTls);
  return sent;
}
