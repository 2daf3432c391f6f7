# What makes a mistake in memory end the process rather than serve an attacker: position-independent programs,
# relocations resolved at start and then read-only, guards on stacks, checked copies, a stack that is not code, and
# marked targets of indirect jumps. hardening_test.py reads it back from the programs and from the compiler's commands.
# Sanitizers bring checks of their own.
if(LATENTD_SANITIZE)
  return()
endif()
add_compile_options(-fstack-protector-strong -fstack-clash-protection)
add_compile_options($<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE> $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=3>)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_compile_options(-fcf-protection)
endif()
add_compile_options(-D_GLIBCXX_ASSERTIONS)  # but in kernels/, whose loops would pay for it
add_link_options(-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie>)  # what the compiler's default objects allow
