# Language level, warnings, hardening, sanitizers, compiler cache and linker.
option(MILLRACE_TESTS "Build the tests" ON)
option(MILLRACE_FUZZ "Build the fuzz targets; needs clang" OFF)
set(MILLRACE_JOIN 0 CACHE STRING "So many files of a folder are compiled as one, which takes half the time; 0: each alone")
set(MILLRACE_SANITIZE "" CACHE STRING "Sanitizers to build with, as -fsanitize= takes them")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# What every folder of ours is compiled with.
add_library(millrace_options INTERFACE)
target_include_directories(millrace_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(millrace_options INTERFACE -Wall -Wextra -Wshadow -Werror)
# Designated initialisers leave members to their defaults on purpose.
target_compile_options(millrace_options INTERFACE -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # gcc 12 sees overlapping copies in `"text" + std::string` at -O3 where there are none (its bug 105651).
  target_compile_options(millrace_options INTERFACE -Wno-restrict)
endif()
target_compile_options(millrace_options INTERFACE -fstack-protector-strong -fcf-protection)
target_compile_definitions(millrace_options INTERFACE _GLIBCXX_ASSERTIONS)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_definitions(millrace_options INTERFACE _FORTIFY_SOURCE=2)
endif()

if(MILLRACE_SANITIZE)
  add_compile_options(-fsanitize=${MILLRACE_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MILLRACE_SANITIZE})
  # Its data before each function cannot be assembled for coroutines (clang 14).
  add_compile_options($<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>)
endif()

# Programs find the libraries of a bundle (scripts/gpu_bundle) beside themselves.
set(CMAKE_BUILD_RPATH "$ORIGIN/../lib")
