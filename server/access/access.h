// All that decides who gets in. Owned by main, which looks after its files.
#pragma once

#include "server/access/authority.h"
#include "server/access/certificates.h"

namespace latentd {

struct Access {
  Authority& authority;
  const Certificates* certificates = nullptr;  // null: no TLS
};

}  // namespace latentd
