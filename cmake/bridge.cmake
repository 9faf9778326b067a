# The Rust bridge: cargo builds one static library and its C header, and millrace::bridge links them.
# All presets share one cargo directory, so that the crates are compiled once per source tree.
set(MILLRACE_CARGO_TARGET_DIR "$ENV{MILLRACE_CARGO_TARGET_DIR}" CACHE PATH
    "Where cargo builds the bridge (default: build/cargo in the source tree)")
set(bridge_target_dir ${MILLRACE_CARGO_TARGET_DIR})
if(NOT bridge_target_dir)
  set(bridge_target_dir ${CMAKE_SOURCE_DIR}/build/cargo)
endif()

set(bridge_source_dir ${CMAKE_SOURCE_DIR}/rust/bridge)
file(STRINGS ${bridge_source_dir}/Cargo.toml bridge_rust_version REGEX "^rust-version = ")
string(REGEX MATCH "[0-9.]+" bridge_rust_version "${bridge_rust_version}")

find_program(CARGO cargo HINTS $ENV{HOME}/.cargo/bin)
if(NOT CARGO)
  message(FATAL_ERROR "cargo is missing: the tokenizer is a Rust library; install Rust "
    "${bridge_rust_version} or later with rustup (https://rustup.rs) and configure again")
endif()
execute_process(COMMAND ${CARGO} --version OUTPUT_VARIABLE cargo_version RESULT_VARIABLE cargo_failed
                ERROR_VARIABLE cargo_error)
string(REGEX MATCH "[0-9]+[.][0-9]+[.][0-9]+" cargo_version "${cargo_version}")
if(cargo_failed)
  message(FATAL_ERROR "${CARGO} does not run: ${cargo_error}")
elseif(cargo_version VERSION_LESS bridge_rust_version)
  message(FATAL_ERROR "${CARGO} is version ${cargo_version}, the bridge needs "
    "${bridge_rust_version} or later; install it with rustup (https://rustup.rs) and configure again")
endif()

set(bridge_library ${bridge_target_dir}/release/libmillrace_bridge.a)
set(bridge_include_dir ${bridge_target_dir}/include)
file(GLOB_RECURSE bridge_sources CONFIGURE_DEPENDS ${bridge_source_dir}/src/*.rs)
list(APPEND bridge_sources ${bridge_source_dir}/Cargo.toml ${bridge_source_dir}/Cargo.lock
     ${bridge_source_dir}/build.rs ${bridge_source_dir}/cbindgen.toml)

# Cargo compares the sources itself: it compiles only what changed, whichever build directory asks.
add_custom_command(
  OUTPUT ${bridge_library} ${bridge_include_dir}/millrace_bridge.h
  COMMAND ${CMAKE_COMMAND} -E make_directory ${bridge_include_dir}
  COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${bridge_target_dir}
          MILLRACE_BRIDGE_INCLUDE_DIR=${bridge_include_dir}
          ${CARGO} build --release --locked --quiet
  WORKING_DIRECTORY ${bridge_source_dir}
  DEPENDS ${bridge_sources}
  COMMENT "Building the Rust bridge (a minute or two the first time)"
  USES_TERMINAL VERBATIM)
add_custom_target(bridge_build DEPENDS ${bridge_library} ${bridge_include_dir}/millrace_bridge.h)

file(MAKE_DIRECTORY ${bridge_include_dir})
add_library(millrace::bridge STATIC IMPORTED GLOBAL)
add_dependencies(millrace::bridge bridge_build)
set_target_properties(millrace::bridge PROPERTIES
  IMPORTED_LOCATION ${bridge_library}
  INTERFACE_INCLUDE_DIRECTORIES ${bridge_include_dir})
# What Rust's standard library needs, as `rustc --print native-static-libs` lists it.
target_link_libraries(millrace::bridge INTERFACE Threads::Threads m ${CMAKE_DL_LIBS} gcc_s)
