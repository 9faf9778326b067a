# millrace_library(<folder> DEPS <libraries>): the library of one folder of src, from all its .cpp files.
# DEPS names lower floors (without prefix) and third-party targets.
function(millrace_library folder)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  string(REPLACE "/" "_" name ${folder})
  add_library(millrace_${name} STATIC ${sources})
  target_link_libraries(millrace_${name} PUBLIC millrace_options)
  millrace_link(millrace_${name} ${ARG_DEPS})
  millrace_join(millrace_${name})
endfunction()

# millrace_test(<folder> DEPS <libraries>): one GoogleTest program from all .cpp files of tests/<folder>.
function(millrace_test folder)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cpp)
  string(REPLACE "/" "_" name ${folder})
  add_executable(test_${name} ${sources})
  target_link_libraries(test_${name} PRIVATE millrace_options GTest::gmock GTest::gtest_main)
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(test_${name} PRIVATE -O1)  # what is tested is optimised, the tests need not be
  endif()
  target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  millrace_link(test_${name} ${ARG_DEPS})
  millrace_join(test_${name})
  gtest_discover_tests(test_${name} TEST_PREFIX "${folder}." DISCOVERY_TIMEOUT 60
                       WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} PROPERTIES LABELS ${name})
endfunction()

# Makes a program one that can load libmillrace_cuda.so, which takes floors 0 to 3 from it.
function(millrace_hosts_cuda target)
  set_target_properties(${target} PROPERTIES
    ENABLE_EXPORTS ON
    LINK_LIBRARY_OVERRIDE "WHOLE_ARCHIVE,millrace_base,millrace_tensor,millrace_config,millrace_kernels_cuda,millrace_ops")
endfunction()

# Links our own folders by their short name, anything with a :: as it is.
function(millrace_link target)
  foreach(dep ${ARGN})
    if(dep MATCHES "::")
      target_link_libraries(${target} PUBLIC ${dep})
    else()
      string(REPLACE "/" "_" name ${dep})
      target_link_libraries(${target} PUBLIC millrace_${name})
    endif()
  endforeach()
endfunction()

# At the end of its folder, the files of a target become MILLRACE_JOIN times fewer that include them: headers are
# read and templates compiled once for all. What is in namespaces without name must therefore be unique in a folder;
# a file with flags or definitions of its own, or with the property MILLRACE_ALONE, stays as it is. Texts hold no path of
# the machine, so that a compiler cache knows them in every clone.
function(millrace_join target)
  if(MILLRACE_JOIN)
    cmake_language(EVAL CODE "cmake_language(DEFER CALL millrace_join_now ${target})")
  endif()
endfunction()

function(millrace_join_now target)
  get_target_property(sources ${target} SOURCES)
  set(alone "")
  set(rest "")
  foreach(source ${sources})
    get_source_file_property(flags ${source} COMPILE_OPTIONS)
    get_source_file_property(definitions ${source} COMPILE_DEFINITIONS)
    get_source_file_property(is_alone ${source} MILLRACE_ALONE)
    cmake_path(ABSOLUTE_PATH source NORMALIZE)
    cmake_path(IS_PREFIX CMAKE_BINARY_DIR ${source} is_generated)
    if(flags OR definitions OR is_alone OR is_generated)
      list(APPEND alone ${source})
    else()
      list(APPEND rest ${source})
    endif()
  endforeach()
  set(text "")
  set(count 0)
  set(number 0)
  list(LENGTH rest left)
  foreach(source ${rest})
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${CMAKE_SOURCE_DIR})
    string(APPEND text "#include \"${source}\"\n")
    math(EXPR count "${count} + 1")
    math(EXPR left "${left} - 1")
    if(count EQUAL MILLRACE_JOIN OR left EQUAL 0)
      set(joined ${CMAKE_CURRENT_BINARY_DIR}/${target}_${number}.cpp)
      file(CONFIGURE OUTPUT ${joined} CONTENT "${text}" @ONLY)
      # gcc takes what a file keeps to itself for a header's.
      set_source_files_properties(${joined} PROPERTIES
        INCLUDE_DIRECTORIES ${CMAKE_SOURCE_DIR} COMPILE_OPTIONS -Wno-subobject-linkage)
      list(APPEND alone ${joined})
      set(text "")
      set(count 0)
      math(EXPR number "${number} + 1")
    endif()
  endforeach()
  set_target_properties(${target} PROPERTIES SOURCES "${alone}")
endfunction()
