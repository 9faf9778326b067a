# millrace_library(<folder> DEPS <libraries>): the library of one folder of src, from all its .cpp files.
# DEPS names lower floors (without prefix) and third-party targets.
function(millrace_library folder)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  string(REPLACE "/" "_" name ${folder})
  add_library(millrace_${name} STATIC ${sources})
  target_link_libraries(millrace_${name} PUBLIC millrace_options)
  millrace_link(millrace_${name} ${ARG_DEPS})
endfunction()

# millrace_test(<folder> DEPS <libraries>): one GoogleTest program from all .cpp files of tests/<folder>.
function(millrace_test folder)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cpp)
  string(REPLACE "/" "_" name ${folder})
  add_executable(test_${name} ${sources})
  target_link_libraries(test_${name} PRIVATE millrace_options GTest::gmock GTest::gtest_main)
  target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_definitions(test_${name} PRIVATE MILLRACE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  millrace_link(test_${name} ${ARG_DEPS})
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
