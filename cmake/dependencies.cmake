# Third-party libraries: one line each says why it is here. Versions are pinned by scripts/setup.
find_package(Threads REQUIRED)
find_package(fmt 9 REQUIRED)                                  # formatting
find_package(spdlog 1.10 REQUIRED)                            # logs
find_package(OpenSSL 3 REQUIRED COMPONENTS Crypto)            # SHA-256 of artefacts
find_package(Boost 1.81 REQUIRED COMPONENTS json url context) # HTTP (Beast, Asio), JSON, URLs
find_package(yaml-cpp 0.7 REQUIRED)                           # config.yaml, with line and column
find_package(CLI11 2 REQUIRED)                                # command line
find_package(CURL 7.88 REQUIRED)                              # downloads: TLS, proxies, redirects
find_package(prometheus-cpp REQUIRED COMPONENTS core)         # metrics
find_library(ZSTD_LIBRARY zstd REQUIRED)                      # compressed answers

# Debian's zstd has no CMake package.
if(NOT TARGET millrace::zstd)
  add_library(millrace::zstd UNKNOWN IMPORTED)
  set_target_properties(millrace::zstd PROPERTIES IMPORTED_LOCATION ${ZSTD_LIBRARY})
endif()

# yaml-cpp 0.7 exports its target without a namespace.
if(NOT TARGET yaml-cpp::yaml-cpp)
  add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
endif()

if(MILLRACE_TESTS)
  find_package(GTest 1.12 REQUIRED)                           # tests
  include(GoogleTest)
endif()
