// HTTP/2 as it passes in and out of TLS: the program's own SSL_read and SSL_write, defined beside this, show it to the
// ConnectionTable, so that a connection is guarded whether or not it is encrypted. gRPC gives TLS no descriptor but
// pairs of buffers; it makes a connection's TLS object while the connection is handed over, on the same thread, and
// that is how one is known to belong to the other.
#pragma once

namespace latentd {

// While it lives, TLS objects that this thread makes are those of the connection that has the descriptor.
class TlsHandOver {
 public:
  explicit TlsHandOver(int descriptor);
  TlsHandOver(const TlsHandOver&) = delete;
  TlsHandOver& operator=(const TlsHandOver&) = delete;
  ~TlsHandOver();
};

}  // namespace latentd
